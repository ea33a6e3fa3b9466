"""From cells to results: which cells a check is about, what statistic they give, and the verdict on it."""

import dataclasses
import math
from collections.abc import Sequence

import jax

from manifold_diffusion._types import Key
from manifold_diffusion.studies.claim import Cell, Check, Claim, Number, Result, Scale, Statistic, Table
from manifold_diffusion.studies.rate import Extent, fit_rate, interval
from manifold_diffusion.studies.verdict import judge

EXTENTS: dict[str, Extent] = {"mean": "mean", "at_least": "min", "at_most": "max"}


@dataclasses.dataclass(frozen=True)
class Selection:
    """The values that a check is about, by size; `cells` is how many the grid asks for, whatever failed."""

    sizes: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    cells: int

    @property
    def failures(self) -> int:
        """How many cells have no finite value."""
        return self.cells - sum(len(row) for row in self.values)


def select(claim: Claim, check: Check, scale: Scale, cells: Sequence[Cell]) -> Selection:
    """The finite values of the check's quantity, at the sizes of the grid that it covers."""
    grid = claim.experiment(check.experiment).grids[scale]
    sizes = tuple(sorted(float(size) for size in grid.sizes if check.min_size <= size <= check.max_size))
    rows = {size: {} for size in sizes}
    for cell in cells:
        value = cell.values.get(check.quantity)
        if (
            _is_about(cell, claim, check)
            and cell.size in rows
            and cell.replicate < grid.replicates
            and value is not None
        ):
            rows[cell.size][cell.replicate] = float(value)
    ordered = tuple(tuple(row[replicate] for replicate in sorted(row)) for row in rows.values())
    return Selection(sizes, ordered, len(sizes) * grid.replicates)


def decide(claim: Claim, check: Check, scale: Scale, cells: Sequence[Cell], seed: int = 0) -> Result:
    """The result of one check, from the cells of the claim."""
    grid = claim.experiment(check.experiment).grids[scale]
    selection = select(claim, check, scale, cells)
    about = [cell for cell in cells if _is_about(cell, claim, check)]
    statistic, trouble = _statistic(check, selection, jax.random.key(seed))
    errors = [cell.error for cell in about if cell.error and cell.size in selection.sizes]
    trouble += f" (the first error: {errors[0]})" if trouble and errors else ""
    non_finite = sum(int(cell.values.get("non_finite") or 0) for cell in about if cell.size in selection.sizes)
    verdict = judge(check, statistic, scale, selection.cells, selection.failures, non_finite, trouble)
    return Result(
        claim,
        check,
        scale,
        statistic,
        verdict,
        selection.sizes,
        grid.replicates,
        sum(cell.seconds for cell in about),
        selection.failures,
    )


def tables(results: Sequence[Result], cells: Sequence[Cell]) -> list[Table]:
    """The tables of the claims, each over the claims that share it; those without a row are left out."""
    found = []
    for table in dict.fromkeys(result.claim.table for result in results):
        about = [result for result in results if result.claim.table is table]
        ids = {result.claim.id for result in about}
        if table is not None:
            found.append(table(about, [cell for cell in cells if cell.claim in ids]))
    return [table for table in found if table.rows]


def abscissa(check: Check, sizes: Sequence[Number]) -> list[Number]:
    """What a slope is taken against."""
    return [size / math.log(size) for size in sizes] if check.abscissa == "size/log(size)" else list(sizes)


def _is_about(cell: Cell, claim: Claim, check: Check) -> bool:
    return (cell.claim, cell.experiment, cell.method) == (claim.id, check.experiment, check.method)


def _statistic(check: Check, selection: Selection, key: Key) -> tuple[Statistic | None, str]:
    """The statistic, or None and what stands in its way."""
    if not selection.sizes:
        return None, f"No size of the grid lies in [{check.min_size:g}, {check.max_size:g}]"
    if not all(selection.values):
        empty = [size for size, row in zip(selection.sizes, selection.values, strict=True) if not row]
        return None, f"No cell of size {empty[0]:g} gave a finite value of {check.quantity}"
    try:
        if check.relation in ("slope", "slope_at_most", "slope_at_least"):
            fit = fit_rate(abscissa(check, selection.sizes), selection.values, key)
            return Statistic(fit.slope, fit.ci_low, fit.ci_high, fit.local_slopes), ""
        return interval(selection.values, EXTENTS[check.relation], key), ""
    except ValueError as error:
        return None, str(error)
