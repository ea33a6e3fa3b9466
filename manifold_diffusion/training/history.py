"""What was seen while a model learned, and when to stop."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import equinox as eqx

from manifold_diffusion._types import Denoiser


class Seen(NamedTuple):
    """After `step` steps: the mean loss since the last look, and what the watcher said of the averaged model."""

    step: int
    loss: float
    values: Mapping[str, float]


History: TypeAlias = Sequence[Seen]

Watch: TypeAlias = Callable[[Denoiser, int], Mapping[str, float]]
"""(averaged model, step) -> named numbers; NaN where one is not known."""


@runtime_checkable
class Stopping(Protocol):
    """When to end, and which look is the best so far."""

    def best(self, history: History) -> int | None:
        """The position of the best look; None if there is none."""
        ...

    def is_over(self, history: History) -> bool:
        """Whether training should end now."""
        ...


class Until(eqx.Module):
    """Train until the `quantity` of the watcher is at or above the level (at or below it, with `falling`); the last
    state is the best.
    """

    quantity: str
    level: float
    falling: bool = False

    def best(self, history: History) -> int | None:
        """The last look."""
        return len(history) - 1 if history else None

    def is_over(self, history: History) -> bool:
        """Whether the level was reached at the last look; not while the quantity is NaN."""
        if not history:
            return False
        value = _value(history[-1], self.quantity)
        return value <= self.level if self.falling else value >= self.level


class EarlyStopping(eqx.Module):
    """Which state is best and when to give up: the `quantity` of the watcher ("loss" is the training loss itself) is to
    be as small or as large as can be, and training ends when `patience` looks in a row brought nothing better.

    A look whose quantity is NaN is not better than any other. ValueError for a patience below 1.
    """

    quantity: str
    aim: Literal["smallest", "largest"] = "smallest"
    patience: int = 10

    def __check_init__(self):
        if self.patience < 1 or self.aim not in ("smallest", "largest"):
            raise ValueError(
                f'patience must be at least 1 and aim "smallest" or "largest"; got {self.patience} and {self.aim!r}'
            )

    def best(self, history: History) -> int | None:
        """The position of the best look; None if there is none with a number."""
        known = [(self._cost(seen), i) for i, seen in enumerate(history) if not math.isnan(self._cost(seen))]
        return min(known)[1] if known else None

    def is_over(self, history: History) -> bool:
        """Whether training should end now."""
        best = self.best(history)
        return len(history) - 1 - (-1 if best is None else best) >= self.patience

    def _cost(self, seen: Seen) -> float:
        value = _value(seen, self.quantity)
        return value if self.aim == "smallest" else -value


def _value(seen: Seen, quantity: str) -> float:
    if quantity != "loss" and quantity not in seen.values:
        known = ", ".join(["loss", *seen.values])
        raise ValueError(f"early stopping asks for {quantity!r}, but the watcher gives {known}")
    return seen.loss if quantity == "loss" else float(seen.values[quantity])
