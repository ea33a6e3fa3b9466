"""Laws of charts: two maps that are inverse to one another, and derivatives that differences confirm."""

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion import geometry
from manifold_diffusion._numerics import dot
from manifold_diffusion.testing.law import DIFFERENCES, EXACT, ZERO, Found, Law, Seen
from manifold_diffusion.testing.laws.structure import STRUCTURE_LAWS
from manifold_diffusion.testing.observe import Look


def _place(chart, u):
    return chart.embed(u)


def _gap(chart, u, w):
    return dot(jax.jacfwd(chart.embed)(u), chart.coordinates(chart.embed(u)) - u)


def _jacobian(chart, u, *_):
    return jax.jacfwd(chart.embed)(u)


def _reverse(chart, u, w):
    return jax.vjp(chart.embed, u)[1](w)[0] - dot(w, jax.jacfwd(chart.embed)(u))


def _second(chart, u, w):
    return jax.jacfwd(jax.jacfwd(chart.embed))(u)


def _form(chart, u, w):
    II = geometry.second_fundamental_form(chart, u)
    return {"form": II, "along": jnp.einsum("ijd,dl->ijl", II, geometry.tangent_frame(chart, u), precision="highest")}


def _log_volume(chart, u, w):
    return geometry.log_volume(chart, u)


PLACE = Look("embed", _place)
JACOBIAN = Look("jacobian", _jacobian, ("embed",))
LOOKS = (
    Look("gap", _gap, ("embed", "coordinates")),
    JACOBIAN,
    Look("reverse", _reverse, ("embed",)),
    Look("second", _second, ("embed",)),
    Look("form", _form, ("embed",)),
    Look("log volume", _log_volume, ("embed",)),
)


def _largest(a: np.ndarray) -> np.ndarray:
    return np.max(np.abs(a), axis=tuple(range(1, a.ndim)))


def _inverse(seen: Seen) -> Found:
    return Found(np.linalg.norm(seen["gap"], axis=1), {"u": seen["u"]})


def _immersion(seen: Seen) -> Found:
    """Largest over smallest singular value, at the coordinates given and where a search between them ends."""
    u, J = seen["lowest"]
    singular = [np.linalg.svd(each, compute_uv=False) if np.isfinite(each).all() else [np.nan] for each in J]
    largest = max(float(values[0]) for values in singular)
    errors = [largest / values[-1] if values[-1] != 0 else np.inf for values in singular]
    words = [f"the smallest singular value of the Jacobian is {values[-1]:.2g}" for values in singular]
    return Found(np.asarray(errors), {"u": u}, words)


def _positive(seen: Seen) -> Found:
    return Found(~np.isfinite(seen["log volume"]), {"u": seen["u"]})


def _first(seen: Seen) -> Found:
    scale = np.max(np.abs(seen["jacobian"]))
    along = np.einsum("ndk,nk->nd", seen["jacobian"], seen["v"])
    return Found(_largest(seen["differences"] - along) / scale, {"u": seen["u"], "v": seen["v"]})


def _back(seen: Seen) -> Found:
    return Found(_largest(seen["reverse"]) / np.max(np.abs(seen["jacobian"])), {"u": seen["u"], "w": seen["w"]})


def _next(seen: Seen) -> Found:
    scale = max(np.max(np.abs(seen["second"])), np.max(np.abs(seen["jacobian"])) / seen["size"])
    along = np.einsum("ndij,nj->ndi", seen["second"], seen["v"])
    return Found(_largest(seen["jacobian differences"] - along) / scale, {"u": seen["u"], "v": seen["v"]})


def _normal(seen: Seen) -> Found:
    II, scale = seen["form"]["form"], max(np.max(np.abs(seen["second"])), np.finfo(float).tiny)
    errors = np.maximum(_largest(II - II.swapaxes(1, 2)), _largest(seen["form"]["along"]))
    return Found(errors / scale, {"u": seen["u"]})


def _into(seen: Seen) -> Found:
    x = seen["values"]["embed"]
    return Found(np.linalg.norm(x - seen["projected"], axis=1), {"u": seen["u"], "x": x})


CHART_LAWS = (
    *STRUCTURE_LAWS,
    Law(
        "coordinates invert embed",
        "coordinates(embed(u)) = u, in units of length: |J (difference)|",
        "wrong inverse, or an angle that is not brought back into its period",
        _inverse,
    ),
    Law(
        "embed is an immersion",
        "the Jacobian of embed has rank k: largest over smallest singular value, searched between the places given",
        "choose coordinates that are regular there (a pole is not, in polar ones), or a smaller domain",
        _immersion,
        {"float64": 1e6, "float32": 1e3},
        "ratio",
    ),
    Law(
        "the metric is positive",
        "log sqrt det(J^T J) is finite",
        "a coordinate does not move the point, or two move it alike",
        _positive,
        ZERO,
        "numbers that are not finite",
    ),
    Law(
        "Jacobian agrees with differences",
        "jax.jacfwd(embed) v = (embed(u + h v) - embed(u - h v)) / 2h, relative to the largest derivative",
        "look for a wrong custom_jvp rule, a stop_gradient, a rounding or a step function",
        _first,
        DIFFERENCES,
        "one",
    ),
    Law(
        "reverse derivative agrees with the Jacobian",
        "jax.vjp and jax.jacfwd of embed are the same, relative to the largest derivative",
        "a custom_vjp forbids jvp, which curvature needs: write custom_jvp rules",
        _back,
        EXACT,
        "one",
    ),
    Law(
        "second derivative agrees with differences",
        "jax.jacfwd of the Jacobian along v = (J(u + h v) - J(u - h v)) / 2h, relative to the largest",
        "the rule of a custom_jvp must itself be differentiable, without stop_gradient",
        _next,
        DIFFERENCES,
        "one",
    ),
    Law(
        "second fundamental form is symmetric and normal",
        "II_ij = II_ji and <II_ij, J> = 0, relative to the largest second derivative",
        "the rule of a custom_jvp must itself be differentiable, without stop_gradient",
        _normal,
        EXACT,
        "one",
    ),
    Law(
        "chart maps into the manifold",
        "manifold.project(embed(u)) = embed(u)",
        "chart and project belong to different manifolds",
        _into,
    ),
)
