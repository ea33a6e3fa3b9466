"""Objects observed: made in each precision, and looked at by programs.

A program is compiled for the kind of object and takes the object as an argument: objects that differ in their numbers
share it. An object that is no pytree, or cannot be traced itself, is a constant of its program.
"""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing import methods
from manifold_diffusion.testing.law import ABSENT, EXACT, Seen, Unseen

_RAISED = re.compile(r"^(?:\w+\.)*_?(\w*(?:Error|Exception): )")


class Look(NamedTuple):
    """What is computed at each case, from methods that must be sound for it: `call(object, *case)`.

    An object that need not know it (`optional`) may say so by an error, as `unknown` takes it.
    """

    name: str
    call: Callable[..., Any]
    needs: tuple[str, ...] = ()
    optional: bool = False


CALL = Look("call", methods.call)
LOG_DENSITY = Look("log_density", methods.log_density)
PROJECT = Look("project", methods.project)
SAMPLE = Look("sample", methods.sample)
SCORE = Look("score", methods.score)
UNIFORM = Look("uniform", methods.uniform)


class Made(NamedTuple):
    """An object to be checked in a precision, and whether it was made in it."""

    subject: Any
    dtype: str
    fresh: bool

    @property
    def x64(self) -> bool:
        """Whether float64 has to be on: also to see what an object that holds float64 does to float32 points."""
        leaves = jax.tree.leaves(eqx.filter(self.subject, eqx.is_array))
        return self.dtype == "float64" or any(leaf.dtype == np.float64 for leaf in leaves)


@contextlib.contextmanager
def within(each: Made) -> Iterator[None]:
    """The precision of the object. Numbers that are not finite are counted by the laws, so numpy need not warn."""
    with jax.enable_x64(each.x64), np.errstate(all="ignore"):
        yield


def made(subject: Any, dtype: str, sort: str | None = None) -> Made:
    """The object itself, or what a factory makes in that precision: a class, or a callable that needs no argument and
    has no attribute `sort`, by which the objects of its kind are known.
    """
    known = sort is not None and hasattr(subject, sort)
    if not isinstance(subject, type) and (known or not _needs_nothing(subject)):
        return Made(subject, dtype, False)
    with jax.enable_x64(dtype == "float64"):
        return Made(subject(), dtype, True)


def _needs_nothing(subject: Any) -> bool:
    if not callable(subject):
        return False
    try:
        inspect.signature(subject).bind()
    except (TypeError, ValueError):
        return False
    return True


def precisions(dtype: Any) -> tuple[str, ...]:
    """Both, or the one asked for."""
    if dtype is None:
        return ("float64", "float32")
    name = np.dtype(dtype).name
    if name not in EXACT:
        raise ValueError(f"laws are checked in float64 and float32, got dtype={name}; leave it out for both")
    return (name,)


def called(subject: Any) -> str:
    """A name for the object: that of its class or function."""
    return getattr(subject, "__name__", None) or type(subject).__name__


def generator(key: Any) -> np.random.Generator:
    """Randomness for the places to look at, on the host."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())


def rounded(a: np.ndarray, dtype: str) -> np.ndarray:
    """The nearest numbers of that precision, in float64."""
    return np.asarray(a).astype(dtype).astype(np.float64)


class _Held:
    # Compared by identity, so that it can be a constant of a compiled program whatever it holds.
    def __init__(self, subject: Any):
        self.subject = subject


def argument(subject: Any) -> Any:
    """The object as the argument of a program: itself if it is a pytree, else a constant."""
    leaves = jax.tree.leaves(subject)
    alone = len(leaves) == 1 and leaves[0] is subject and not eqx.is_array(subject)
    return _Held(subject) if alone and not isinstance(subject, _Held) else subject


def constant(subject: Any) -> Any:
    """The object as a constant of a program."""
    return _Held(opened(subject))


def opened(subject: Any) -> Any:
    """The object that is meant by the argument of a program."""
    return subject.subject if isinstance(subject, _Held) else subject


@eqx.filter_jit
def _program(subject: Any, looks: Any, cases: Any, batch: bool) -> Any:
    def look(*case):
        return {each.name: each.call(opened(subject), *case) for each in looks}

    return jax.vmap(look)(*cases) if batch else look(*cases)


def run(subject: Any, looks: Sequence[Look], cases: tuple[Any, ...]) -> dict[str, Any]:
    """All the looks at all the cases, in one program; floats as float64."""
    return _fetched(_program(subject, tuple(looks), cases, True))


def run_one(subject: Any, looks: Sequence[Look], case: tuple[Any, ...]) -> dict[str, Any]:
    """All the looks at one case, compiled."""
    return _fetched(_program(subject, tuple(looks), case, False))


def _fetched(values: Any) -> Any:
    def numbers(a):
        a = np.asarray(a)
        return a.astype(np.float64) if a.dtype.kind == "f" else a

    return jax.tree.map(numbers, values)


def batched(subject: Any, look: Look, points: np.ndarray, dtype: str, block: int = 64) -> np.ndarray:
    """`look` at any number of points (n, d), in blocks of one size, so that one program serves all."""
    if not len(points):
        return np.zeros(points.shape)
    padded = np.concatenate([points, np.repeat(points[-1:], -len(points) % block, axis=0)]).astype(dtype)
    blocks = padded.reshape(-1, block, points.shape[1])
    return np.concatenate([run(subject, (look,), (jnp.asarray(rows),))[look.name] for rows in blocks])[: len(points)]


def drawn(subject: Any, look: Look, key: Any, size: int) -> np.ndarray:
    """`size` values of `look.call(subject, key)`, (size, d)."""
    return run(argument(subject), (look,), (jax.random.split(key, size),))[look.name]


def observe(seen: Seen, subject: Any, looks: Sequence[Look], cases: tuple[Any, ...]) -> None:
    """Each look at all the cases into `seen`, in one program; those that raise, or need what is broken, as missing."""
    for look in looks:
        broken = [name for name in look.needs if name not in seen.sound]
        if broken:
            seen.missing[look.name] = Unseen("not evaluated", f"{' and '.join(broken)} broken, see above")
    fit = tuple(look for look in looks if look.name not in seen.missing)
    if not fit:
        return
    try:
        seen.update(run(subject, fit, cases))
    except Exception as error:
        if len(fit) == 1:
            absent = fit[0].optional and unknown(error)
            words = f"{fit[0].name} {'says' if absent else 'raises'} {first_line(error)}"
            seen.missing[fit[0].name] = Unseen("not there" if absent else "broken", words)
            return
        for look in fit:
            observe(seen, subject, [look], cases)


_OPTIONAL = ("volume", "quadrature", "uniform", "reach", "exp", "log", "distance", "log_exp_volume")


def unknown(error: Exception) -> bool:
    """Whether an error says that the object does not know what it was asked: an error of misuse, or, where an isometric
    copy or a product asks its parts, that one of them has no such method.
    """
    return isinstance(error, NotImplementedError | ValueError) or (
        isinstance(error, AttributeError) and error.name in _OPTIONAL
    )


def attempt(seen: Seen, subject: Any, name: str, value: Callable[[], Any]) -> None:
    """A value that the object may not have: then there is no such method, or it says so by an error."""
    if not hasattr(subject, name):
        seen.missing[name] = Unseen("not there", f"{ABSENT}{name}")
        return
    try:
        seen[name] = value()
    except Exception as error:
        absent = unknown(error)
        words = f"{name} {'says' if absent else 'raises'} {first_line(error)}"
        seen.missing[name] = Unseen("not there" if absent else "broken", words)


def first_line(error: BaseException) -> str:
    """`TypeName: the first line of its message`; of an error raised inside a program, which comes as a traceback, what
    that says at its end.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    inside = [line for line in lines if _RAISED.match(line)]
    if inside and any("Traceback" in line or "inside of JIT" in line for line in lines):
        return _RAISED.sub(r"\1", inside[-1])[:200]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def row(cases: Any, i: int) -> Any:
    """The i-th case."""
    return jax.tree.map(lambda a: a[i], cases)
