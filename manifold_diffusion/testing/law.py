"""The interface of this folder: a law has a statement and a budget, and finds errors in what was observed of an object.

The laws of a kind are run in each precision asked for, and everything that breaks is said at once, each law with the
worst place, the error there, its budget and a hint.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

Outcome: TypeAlias = Literal["holds", "broken", "not evaluated", "not there", "skipped"]
Budget: TypeAlias = float | int | Mapping[str, float | int] | None
"""A number to which smaller budgets that are relative (to the extent, or to one) are raised, or numbers by the names of
laws, which replace theirs.
"""

EXACT = {"float64": 1e-10, "float32": 1e-4}
DIFFERENCES = {"float64": 1e-6, "float32": 1e-2}
INTEGRALS = {"float64": 1e-6, "float32": 1e-4}
ZERO = {"float64": 0.0, "float32": 0.0}
DEVIATIONS = {"float64": 5.0, "float32": 5.0}
RARE = {"float64": 4.0, "float32": 4.0}


def difference(a: Any, b: Any) -> np.ndarray:
    """|a - b|, which is 0 where neither is finite and both are alike."""
    alike = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.asarray(np.abs(np.where(alike, 0.0, a) - np.where(alike, 0.0, b)))


ABSENT = "there is no "


class Found(NamedTuple):
    """Errors (n,) of a law, the places (label -> n rows) at which they were found, words about each or about all, and
    what is allowed on top of the budget because the oracle itself is not exact.
    """

    errors: np.ndarray
    places: Mapping[str, Any] = {}
    words: str | Sequence[str] = ""
    slack: float = 0.0


class Unseen(Exception):
    """Why something was not observed: the object does not have it, it raised, or it needs something that is broken."""

    def __init__(self, outcome: Outcome, words: str):
        super().__init__(words)
        self.outcome: Outcome = outcome
        self.words = words


class Seen(dict):
    """What was observed of an object, by name; asking for what was not observed raises the reason as `Unseen`.

    `sound` are the names of the methods in which nothing was found that would keep a program from using them;
    `missing` are reasons by name, `otherwise` is the reason for all other names.
    """

    def __init__(self, dtype: str, extent: float = 1.0):
        super().__init__()
        self.dtype, self.extent = dtype, extent
        self.sound: list[str] = []
        self.missing: dict[str, Unseen] = {}
        self.otherwise = Unseen("not evaluated", "it was not looked at")

    def __missing__(self, name: str):
        raise self.missing.get(name, self.otherwise)

    def stop(self, broken: str) -> "Seen":
        """Nothing else can be observed, because of what is broken."""
        self.otherwise = Unseen("not evaluated", f"{broken} broken, see above")
        return self


@dataclass(frozen=True)
class Law:
    """A property that is checked: `find(seen)` gives its errors, of which none may exceed the budget.

    unit      what the budget is stated in: "extent" (the largest coordinate of the points), "one", or the words for a
              number that has no natural scale
    budget    the default for each precision
    hint      what is usually wrong where the law does not hold
    """

    name: str
    statement: str
    hint: str
    find: Callable[[Seen], Found] = field(repr=False, compare=False)
    budget: Mapping[str, float] = field(default_factory=lambda: EXACT, compare=False)
    unit: str = "extent"


def require_names(laws: Sequence[Law], budget: Budget, skip: Sequence[str] | str) -> tuple[str, ...]:
    """The names to skip; a name that no law has is misuse."""
    skipped = (skip,) if isinstance(skip, str) else tuple(skip)
    known = [law.name for law in laws]
    for name in (*skipped, *(budget if isinstance(budget, Mapping) else ())):
        if name not in known:
            raise ValueError(f"there is no law {name!r}; the laws are: {', '.join(known)}")
    return skipped
