"""What a study was: its arguments, the software and device it ran on, and its results as rows of claims.json.

manifest.json is written before the first cell, so that a folder says what it holds even if the study never ends, and
again at the end. Everything but cells.jsonl is replaced whole: written to a file beside it, then renamed.
"""

import datetime
import functools
import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from manifold_diffusion._files import replace
from manifold_diffusion.studies.claim import Claim, Result, Scale, StudyError

FIXED = ("scale", "seed", "version", "jax", "device")
"""What has to be the same when a study is resumed, because the values of its cells depend on it."""


def describe(claims: Sequence[Claim], scale: Scale, seed: int) -> dict[str, Any]:
    """The manifest of a study that starts now."""
    import scipy

    import manifold_diffusion

    return {
        "scale": scale,
        "seed": seed,
        "claims": [claim.id for claim in claims],
        "version": manifold_diffusion.__version__,
        "commit": commit(),
        "device": device(),
        "dtype": sorted({dtype(each.x64) for claim in claims for each in claim.experiments}),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "started": now(),
        "finished": None,
        "resumed": [],
        "not_drawn": [],
    }


def require_same(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    """StudyError unless the study in the folder, described by `old`, can go on as `new`."""
    for name in FIXED:
        if old.get(name) != new[name]:
            raise StudyError(
                f"{folder} was measured with {name} {old.get(name)}, not {new[name]}; "
                "resume it with the same, or name another folder"
            )
    missing = [claim for claim in old.get("claims", []) if claim not in new["claims"]]
    if missing:
        raise StudyError(f"{folder} also holds {' '.join(missing)}; name them too to resume it, or name another folder")


def resumed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a study that was begun as `old` and goes on as `new`."""
    again = {"started": new["started"], "commit": new["commit"]}
    return {**new, "started": old["started"], "commit": old["commit"], "resumed": [*old.get("resumed", []), again]}


def claim_row(result: Result, manifest: Mapping[str, Any], figure: str | None) -> dict[str, Any]:
    """One entry of claims.json; what is not known or infinite is null."""
    claim, check, statistic = result.claim, result.check, result.statistic
    return {
        "id": claim.id,
        "group": claim.group,
        "source": claim.source,
        "quantity": f"{check.experiment}: {check.quantity}",
        "relation": check.relation,
        "expected": check.expected,
        "tolerance": check.tolerance_at(result.scale),
        "value": _finite(statistic and statistic.value),
        "ci_low": _finite(statistic and statistic.ci_low),
        "ci_high": _finite(statistic and statistic.ci_high),
        "verdict": result.verdict.verdict,
        "reason": result.verdict.reason,
        "method": check.method,
        "sizes": list(result.sizes),
        "replicates": result.replicates,
        "seconds": result.seconds,
        "failures": result.failures,
        "scale": result.scale,
        "seed": manifest["seed"],
        "device": manifest["device"],
        "dtype": dtype(claim.experiment(check.experiment).x64),
        "jax": manifest["jax"],
        "version": manifest["version"],
        "commit": manifest["commit"],
        "figure": figure,
    }


def read_json(path: Path) -> Any:
    """What the file holds; StudyError where it cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read {path}: {error}; name another folder") from error


def write_json(path: Path, value: Any) -> None:
    """Replace the file whole."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file whole; after a crash it is the old one or the new one. StudyError where that cannot be done."""
    try:
        replace(path, data)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; make room, or name another folder") from error


def dtype(x64: bool) -> str:
    """The name of the floating-point type of an experiment."""
    return "float64" if x64 else "float32"


def device() -> str:
    """What the study computes on: "cpu", or the name of the accelerator."""
    first = jax.devices()[0]
    return first.platform if first.platform == "cpu" else first.device_kind


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that this package was imported from, with "+" if it was changed since; None outside
    one."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "HEAD").strip()
        return head + ("+" if _git(folder, "status", "--porcelain", "--", "manifold_diffusion").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
