"""Laws of what a method is for jax, whatever it means: one point in, one value out, compiled or not, alone or in a
batch.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing.law import EXACT, ZERO, Found, Law, Seen, Unseen, difference
from manifold_diffusion.testing.observe import Look, argument, constant, first_line, opened, row, run, run_one

# Not the first row, which is what a batching rule that takes one point for all may get right.
_BY_HAND = 1


class Method(NamedTuple):
    """A way to use an object: `look.call(object, *case)` for each row of `cases` gives an array of the shape and dtype.

    None in a shape is any size; None for a shape, anything at all; None for a dtype, any floating one.
    """

    look: Look
    cases: tuple[Any, ...]
    shape: tuple[int | None, ...] | None = None
    dtype: str | None = None

    @property
    def name(self) -> str:
        """That of the look."""
        return self.look.name


def examine(seen: Seen, subject: Any, methods: Sequence[Method]) -> Any:
    """The troubles of each method into `seen`, their names into `seen.sound` where there are none, and the values of
    those, by name, into `seen["values"]`; returns the object as programs take it.
    """
    troubles = seen.setdefault("troubles", {law.name: {} for law in STRUCTURE_LAWS})
    seen.setdefault("values", {})
    seen.setdefault("apart", {law: {} for law in ("jit changes nothing", "vmap is a loop")})
    seen.setdefault("first", row(methods[0].cases[0], _BY_HAND))
    taken, by_hand = argument(subject), {}
    for method in methods:
        by_hand[method.name] = _by_hand(subject, method, troubles)
        if by_hand[method.name] is not None:
            taken = _traced(taken, method, troubles)
    bad = {name for names in troubles.values() for name in names}
    sound = [method for method in methods if method.name not in bad]
    for method in sound:
        if method.shape is None:
            seen.sound.append(method.name)
    for cases in {id(method.cases): method.cases for method in sound}.values():
        group = [m for m in sound if m.cases is cases and m.shape is not None]
        _compare(seen, taken, group, cases, by_hand)
    return taken


def _by_hand(subject: Any, method: Method, troubles: dict[str, dict[str, str]]) -> Any:
    try:
        value = method.look.call(subject, *row(method.cases, _BY_HAND))
    except Exception as error:
        troubles["answers"][method.name] = f"{method.name} raises {first_line(error)}"
        return None
    if method.shape is None:
        return value
    shape, dtype = np.shape(value), getattr(value, "dtype", None)
    wild = tuple(size if wanted is None else wanted for size, wanted in zip(shape, method.shape, strict=False))
    if len(shape) != len(method.shape) or shape != wild:
        wanted = str(method.shape).replace("None", "d")
        troubles["keeps the shape"][method.name] = f"{method.name} has shape {shape}, expected {wanted}"
    elif dtype is None or dtype.kind != "f" or (method.dtype is not None and dtype != method.dtype):
        wanted = method.dtype or "a floating type"
        troubles["keeps the dtype"][method.name] = f"{method.name} has dtype {dtype}, expected {wanted}"
    return value


def _traced(taken: Any, method: Method, troubles: dict[str, dict[str, str]]) -> Any:
    """The object as a constant, if only so the method can be traced."""

    def single(subject, *case):
        return method.look.call(opened(subject), *case)

    def batch(subject, *cases):
        return jax.vmap(lambda *case: method.look.call(opened(subject), *case))(*cases)

    for trace, law, cases in ((single, "is traceable", row(method.cases, 0)), (batch, "vmaps", method.cases)):
        attempts = (taken, constant(taken))
        for attempt in attempts:
            try:
                eqx.filter_eval_shape(trace, attempt, *cases)
            except Exception as error:
                if attempt is attempts[-1]:
                    troubles[law][method.name] = f"{method.name} raises {first_line(error)}"
                    return taken
            else:
                taken = attempt
                break
    return taken


def _compare(seen: Seen, taken: Any, methods: Sequence[Method], cases: tuple, by_hand: dict[str, Any]) -> None:
    """The values of a batch, and how far they are from one by hand. Which law that breaks is found out only if it is
    far, because the third program takes long to compile.
    """
    if not methods:
        return
    looks = [m.look for m in methods]
    try:
        batch = run(taken, looks, cases)
    except Exception as error:
        for m in methods:
            seen["troubles"]["answers"][m.name] = f"{m.name}, compiled, raises {first_line(error)}"
        return
    single = None
    for m in methods:
        seen.sound.append(m.name)
        seen["values"][m.name] = values = batch[m.name]
        hand = np.asarray(by_hand[m.name], np.float64)
        scale = max(seen.extent, float(np.max(np.abs(values), initial=0.0)))
        compiled = values[_BY_HAND]
        if not _distance(compiled, hand) <= EXACT[seen.dtype] * scale:
            single = run_one(taken, looks, row(cases, _BY_HAND)) if single is None else single
            compiled = single[m.name]
        seen["apart"]["vmap is a loop"][m.name] = _distance(values[_BY_HAND], compiled) / scale
        seen["apart"]["jit changes nothing"][m.name] = _distance(compiled, hand) / scale


def _distance(a: Any, b: Any) -> float:
    return float(np.max(difference(a, b), initial=0.0))


def _place(seen: Seen) -> dict[str, Any]:
    first = seen.get("first")
    if first is None:
        return {}
    if jnp.issubdtype(first.dtype, jnp.floating):
        return {"x": np.asarray(first)[None]}
    return {"key number": [_BY_HAND]}


def _trouble(law: str):
    def find(seen: Seen) -> Found:
        words = seen["troubles"][law]
        return Found(np.asarray([float(len(words))]), _place(seen), "; ".join(words.values()))

    return find


def _apart(law: str):
    def find(seen: Seen) -> Found:
        apart = seen["apart"][law]
        if not apart:
            raise Unseen("not evaluated", "no method could be run, see above")
        places = {label: list(value) * len(apart) for label, value in _place(seen).items()}
        return Found(np.asarray(list(apart.values())), {"method": list(apart), **places})

    return find


def _structure_law(name: str, statement: str, hint: str) -> Law:
    return Law(name, statement, hint, _trouble(name), ZERO, "methods")


STRUCTURE_LAWS = (
    _structure_law(
        "answers",
        "every method returns, at one point and compiled",
        "define the method that is missing, or mend what it raises",
    ),
    _structure_law(
        "keeps the shape",
        "one point in, one value of the agreed shape out",
        "write the method for one point of shape (d,); jax.vmap makes the batch",
    ),
    _structure_law(
        "keeps the dtype",
        "float32 in, float32 out, and float64 likewise",
        "use .astype(x.dtype) on the arrays that the object holds, or check a factory: lambda: MyObject(...)",
    ),
    _structure_law(
        "is traceable",
        "every method runs under jax.jit",
        "use jnp.where or jax.lax.cond instead of a Python branch on values, and jnp instead of numpy",
    ),
    _structure_law(
        "vmaps",
        "every method runs under jax.vmap; what it returns is arrays, or a pytree of arrays",
        "give callbacks a vmap_method, and make a chart an eqx.Module whose other fields are static",
    ),
    Law(
        "jit changes nothing",
        "a method gives the same value compiled and not",
        "nothing but the arguments may enter: no state, no clock, no branch on being traced",
        _apart("jit changes nothing"),
        EXACT,
        "one",
    ),
    Law(
        "vmap is a loop",
        "a batch gives the same values as its points one by one",
        "look at custom batching rules and at callbacks, which see the whole batch",
        _apart("vmap is a loop"),
        EXACT,
        "one",
    ),
)
