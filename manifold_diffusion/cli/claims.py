"""`claims`: the catalogue of what can be verified."""

import argparse
from typing import Any

from manifold_diffusion.cli.console import Console, table
from manifold_diffusion.studies.catalogue import CLAIMS
from manifold_diffusion.studies.claim import Check, Claim

_SIGNS = {"slope": "", "slope_at_most": "<= ", "slope_at_least": ">= ", "mean": "", "at_least": ">= ", "at_most": "<= "}


def run(options: argparse.Namespace, console: Console) -> int:
    """List the claims."""
    console.document([_row(claim) for claim in CLAIMS])
    head = ("ID", "GROUP", "STATEMENT", "SOURCE", "EXPECTED")
    rows = [(c.id, c.group, _one_line(c.statement), _one_line(c.source), _expectations(c)) for c in CLAIMS]
    for line in table([head, *rows]):
        console.line(line)
    return 0


def expectation(check: Check) -> str:
    """What a check expects, in short, such as -1.5 +- 0.05 or <= 0.2."""
    one_sided = check.relation in ("slope_at_most", "slope_at_least", "at_least", "at_most")
    band = "" if one_sided and not check.tolerance else f" {'+' if one_sided else '+-'} {check.tolerance:.4g}"
    if check.relation in ("at_least", "slope_at_least"):
        band = band.replace("+", "-")
    return f"{_SIGNS[check.relation]}{check.expected:.4g}{band}"


def _expectations(claim: Claim) -> str:
    return "; ".join(dict.fromkeys(expectation(check) for check in claim.checks))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _row(claim: Claim) -> dict[str, Any]:
    first = claim.checks[0]
    return {
        "id": claim.id,
        "group": claim.group,
        "title": claim.title,
        "statement": _one_line(claim.statement),
        "source": _one_line(claim.source),
        "expected": first.expected,
        "tolerance": first.tolerance,
        "checks": [
            {
                "quantity": f"{check.experiment}: {check.quantity}",
                "method": check.method,
                "relation": check.relation,
                "expected": check.expected,
                "tolerance": check.tolerance,
                "note": check.note,
            }
            for check in claim.checks
        ],
    }
