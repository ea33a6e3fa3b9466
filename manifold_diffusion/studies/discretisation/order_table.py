"""The orders of samplers in one table: the slope, in the number of steps, of each error that was measured."""

from collections.abc import Sequence

from manifold_diffusion.studies.claim import Cell, Result, Statistic, Table
from manifold_diffusion.studies.rate import fit_rate

EVALUATIONS = {
    "Euler": "1",
    "midpoint": "2",
    "Heun": "2",
    "Runge-Kutta 4": "4",
    "DDIM": "1",
    "exponential": "1",
    "DPM-Solver++(2S)": "2",
    "DPM-Solver++(2M)": "1",
    "accelerated flow": "2",
    "randomised midpoint": "1",
    "randomised midpoint, given its times": "1",
    "DDPM": "1",
    "DDPM, posterior variance": "1",
    "Hessian DDPM": "1 and d derivatives",
    "accelerated DDPM": "1 and 1 derivative",
    "training-free DDPM": "1",
    "Euler-Maruyama": "1",
    "stochastic Heun": "2",
    "geodesic walk": "0",
    "retraction walk": "0",
}
"""Of the score, in a step of each sampler."""

COLUMNS = {
    "TV": "TV",
    "KL": "KL",
    "path KL": "path KL",
    "W1": "W1 (circle)",
    "distance": "strong",
    "first harmonic": "weak (sphere)",
}
"""The quantities that are measured against the number of steps, and what the table calls them."""


def order_table(results: Sequence[Result], cells: Sequence[Cell]) -> Table:
    """A row for each sampler of which an order was measured."""
    rows = []
    for method, evaluations in EVALUATIONS.items():
        orders = [_order(method, quantity, results, cells) for quantity in COLUMNS]
        if any(orders):
            rows.append((method, evaluations, *orders))
    return Table("Orders in the number of steps", ("sampler", "evaluations a step", *COLUMNS.values()), tuple(rows))


def _order(method: str, quantity: str, results: Sequence[Result], cells: Sequence[Cell]) -> Statistic | None:
    """The slope that is judged, if one is, else that of the first experiment that measures it."""
    in_steps = {(r.claim.id, each.name) for r in results for each in r.claim.experiments if each.size_name == "T"}
    for result in results:
        check = result.check
        if (check.method, check.quantity) == (method, quantity) and (result.claim.id, check.experiment) in in_steps:
            return result.statistic
    found: dict[tuple[str, str], dict[float, list[float]]] = {}
    for cell in cells:
        value, name = cell.values.get(quantity), (cell.claim, cell.experiment)
        if cell.method == method and value is not None and name in in_steps:
            found.setdefault(name, {}).setdefault(cell.size, []).append(value)
    return _slope(next(iter(found.values()))) if found else None


def _slope(values: dict[float, list[float]]) -> Statistic | None:
    try:
        fit = fit_rate(list(values), list(values.values()))
    except ValueError:  # a single size, or an error of zero
        return None
    return Statistic(fit.slope, fit.ci_low, fit.ci_high, fit.local_slopes)
