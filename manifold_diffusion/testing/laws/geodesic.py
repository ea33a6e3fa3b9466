"""Laws of what some manifolds know in closed form: exp, log, distance, and the volume element of exp."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion.testing.law import ABSENT, EXACT, ZERO, Found, Law, Seen, Unseen
from manifold_diffusion.testing.observe import Look


def _velocity(manifold, case):
    v = manifold.tangent(case.y, case.v)
    return case.length * v / jnp.sqrt(jnp.sum(v * v))


def _exp(manifold, case):
    v = _velocity(manifold, case)
    start, velocity = jax.jvp(lambda s: manifold.exp(case.y, s * v), (jnp.zeros_like(case.length),), (case.length,))
    return {"end": manifold.exp(case.y, v), "start": start, "velocity": velocity - case.length * v}


def _log(manifold, case):
    v = _velocity(manifold, case)
    return {
        "back": manifold.log(case.y, manifold.exp(case.y, v)) - v,
        "there": manifold.exp(case.y, manifold.log(case.y, case.q)) - case.q,
    }


def _distance(manifold, case):
    y, q = case.y, case.q
    gradients = [jax.grad(manifold.distance, argnums=i)(y, y) for i in (0, 1)]
    return {
        "there": manifold.distance(y, q),
        "back": manifold.distance(q, y),
        "none": manifold.distance(y, y),
        "gradients": jnp.concatenate(gradients),
    }


def _log_exp_volume(manifold, case):
    v = _velocity(manifold, case)
    columns = jax.vmap(manifold.tangent, in_axes=(None, 0))(case.y, jnp.eye(len(case.y), dtype=case.y.dtype))
    along = jax.vmap(lambda w: jax.jvp(lambda v: manifold.exp(case.y, v), (v,), (w,))[1], out_axes=1)
    return {"value": manifold.log_exp_volume(case.y, v), "derivative": along(columns)}


_OPTIONAL = (
    (("exp",), Look("exp", _exp, ("tangent",), True)),
    (("log", "exp"), Look("log", _log, ("tangent",), True)),
    (("distance",), Look("distance", _distance, (), True)),
    (("log_exp_volume", "exp"), Look("log_exp_volume", _log_exp_volume, ("tangent",), True)),
)


def looks(seen: Seen, taken: Any) -> list[Look]:
    """Those for which the manifold has the methods."""
    manifold, found = getattr(taken, "subject", taken), []
    for methods, look in _OPTIONAL:
        lacking = [name for name in methods if not hasattr(manifold, name)]
        if lacking:
            seen.missing[look.name] = Unseen("not there", f"{ABSENT}{lacking[0]}")
        else:
            found.append(look)
    return found


def feet(seen: Seen, project: Callable[[np.ndarray], np.ndarray]) -> None:
    """Where the ends of geodesics are projected."""
    if "exp" in seen:
        seen["exp foot"] = project(seen["exp"]["end"])
    else:
        seen.missing["exp foot"] = seen.missing["exp"]


def _sizes(a: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a, axis=-1)


def _lands(seen: Seen) -> Found:
    end = seen["exp"]["end"]
    return Found(_sizes(seen["exp foot"] - end), {"x": seen["foot"]})


def _starts(seen: Seen) -> Found:
    found = seen["exp"]
    errors = np.maximum(_sizes(found["start"] - seen["foot"]), _sizes(found["velocity"]))
    return Found(errors, {"x": seen["foot"]})


def _inverse(seen: Seen) -> Found:
    errors = np.maximum(_sizes(seen["log"]["back"]), _sizes(seen["log"]["there"]))
    return Found(errors, {"x": seen["foot"], "y": seen["q"]})


def _symmetric(seen: Seen) -> Found:
    found = seen["distance"]
    return Found(np.abs(found["there"] - found["back"]), {"x": seen["foot"], "y": seen["q"]})


def _none(seen: Seen) -> Found:
    return Found(np.abs(seen["distance"]["none"]), {"x": seen["foot"]})


def _chord(seen: Seen) -> Found:
    excess = _sizes(seen["q"] - seen["foot"]) - seen["distance"]["there"]
    return Found(excess, {"x": seen["foot"], "y": seen["q"]})


def _gradient(seen: Seen) -> Found:
    return Found(np.sum(~np.isfinite(seen["distance"]["gradients"]), axis=1), {"x": seen["foot"]})


def _determinant(seen: Seen) -> Found:
    found = seen["log_exp_volume"]
    singular = np.linalg.svd(found["derivative"], compute_uv=False)[:, : seen["dim"]]
    return Found(np.abs(found["value"] - np.sum(np.log(singular), axis=1)), {"x": seen["foot"]})


GEODESIC_LAWS = (
    Law("exp lands", "project(exp(x, v)) = exp(x, v)", "exp leaves the manifold", _lands),
    Law(
        "exp starts at x with velocity v",
        "exp(x, 0) = x, and d/dt exp(x, t v) = v at t = 0, finite",
        "guard v / |v| at v = 0: use jnp.sinc, or jnp.where twice",
        _starts,
    ),
    Law(
        "exp and log are inverse",
        "exp(x, log(x, y)) = y and log(x, exp(x, v)) = v, for y near x",
        "log must return the shortest velocity, tangent at x",
        _inverse,
    ),
    Law("distance is symmetric", "distance(x, y) = distance(y, x)", "treat both points alike", _symmetric),
    Law("distance is zero at x = y", "distance(x, x) = 0", "use atan2 forms, never arccos", _none),
    Law(
        "distance exceeds the chord",
        "distance(x, y) >= |x - y|",
        "a factor, such as the radius, is missing",
        _chord,
    ),
    Law(
        "distance is differentiable at x = y",
        "its gradients there are finite",
        "the norm at 0 has no derivative: use one whose gradient there is 0",
        _gradient,
        ZERO,
        "numbers that are not finite",
    ),
    Law(
        "log_exp_volume is the log determinant",
        "log_exp_volume(x, v) = log |det d exp_x(v)|, between the tangent spaces",
        "compare with jax.jvp of exp along an orthonormal frame",
        _determinant,
        EXACT,
        "one",
    ),
)
