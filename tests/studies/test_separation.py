"""The separation study as a user starts it, at the smallest scale."""

import json
import os
import subprocess
import sys

import pytest

from manifold_diffusion.studies.separation import CLAIMS

QUICK = ("S10",)
"""Rates, and a figure of its own."""


def measure(out, *names):
    """claims.json and cells of `verify NAMES --scale smoke`, run as a program."""
    command = [sys.executable, "-m", "manifold_diffusion", "verify", *names, "--scale", "smoke"]
    # Compiled as a user's is: it computes for longer than it compiles.
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    done = subprocess.run(
        [*command, "--out", str(out), "--json", "--quiet"], capture_output=True, text=True, timeout=900, env=environment
    )
    assert done.returncode in (0, 1), done.stderr
    cells = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    return json.loads((out / "claims.json").read_text()), cells, out


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return measure(tmp_path_factory.mktemp("smoke") / "run", *QUICK)


def require_sound(claims, cells, ids):
    """Every claim is measured without a failure, none is refuted and most are confirmed."""
    assert {row["id"] for row in claims} == set(ids)
    assert [cell["error"] for cell in cells if cell["error"]] == []
    assert all(row["failures"] == 0 for row in claims)
    assert [row for row in claims if row["verdict"] == "refuted"] == []
    assert sum(row["verdict"] == "confirmed" for row in claims) >= 0.6 * len(claims)


def test_claims_are_measured_and_hold(smoke):
    claims, cells, _ = smoke
    require_sound(claims, cells, QUICK)


@pytest.mark.slow
def test_all_claims_of_the_group_are_measured_and_hold(tmp_path):
    claims, cells, _ = measure(tmp_path / "run", "separation")
    require_sound(claims, cells, [claim.id for claim in CLAIMS])


def test_the_memoriser_is_told_from_the_coarse_model(smoke):
    """The slopes of S10 in the right order, whatever their verdicts: -1/2 for the memoriser, -2 for degree 3."""
    claims, _, _ = smoke
    slopes = {row["method"]: row["value"] for row in claims if row["id"] == "S10" and row["relation"] == "slope"}
    assert slopes["coarse p=3"] < slopes["coarse p=1"] - 0.5 < slopes["memoriser"] - 0.7


def test_the_report_has_a_figure_for_every_claim(smoke):
    claims, _, out = smoke
    assert all((out / row["figure"]).stat().st_size > 10_000 for row in claims)
    assert "data:image/png;base64" in (out / "report.html").read_text()
