"""Curvatures of a chart: principal, Gauss, sectional, Ricci and scalar, from the second fundamental form.

By the Gauss equation the curvature of a submanifold of R^d is that of its second fundamental form: with II in an
orthonormal tangent frame, R(a, b, c, d) = <II(a, d), II(b, c)> - <II(a, c), II(b, d)> (do Carmo, Riemannian Geometry,
ch. 6, theorem 2.5). So no third derivatives are taken.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manifold_diffusion._numerics import dot
from manifold_diffusion._small_matrices import solve_positive
from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractChart, jacobian, second_fundamental_form, tangent_frame


def orthonormal_form(chart: AbstractChart, u: Coordinates) -> Float[Array, "k k d"]:
    """II in the orthonormal tangent frame of `tangent_frame`."""
    J, frame = jacobian(chart, u), tangent_frame(chart, u)
    # J W = frame.
    W = solve_positive(dot(J.T, J), dot(J.T, frame))
    return jnp.einsum("ia,jb,ijd->abd", W, W, second_fundamental_form(chart, u), precision="highest")


def principal_curvatures(chart: AbstractChart, u: Coordinates, normal: Point) -> Float[Array, " k"]:
    """The eigenvalues of the shape operator towards the unit normal, lowest first."""
    form = jnp.einsum("abd,d->ab", orthonormal_form(chart, u), normal, precision="highest")
    if len(u) == 1:
        return form[0]
    if len(u) == 2:
        middle = (form[0, 0] + form[1, 1]) / 2
        squared = ((form[0, 0] - form[1, 1]) / 2) ** 2 + form[0, 1] ** 2
        # At an umbilic the curvatures have a kink; its slope is taken as 0.
        spread = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
        return jnp.stack([middle - spread, middle + spread])
    return jnp.linalg.eigvalsh(form)


def riemann_tensor(chart: AbstractChart, u: Coordinates) -> Float[Array, "k k k k"]:
    """R[a, b, c, d] = <II_ad, II_bc> - <II_ac, II_bd> in an orthonormal frame; R[a, b, b, a] is sectional."""
    II = orthonormal_form(chart, u)
    product = jnp.einsum("adx,bcx->abcd", II, II, precision="highest")
    return product - jnp.einsum("acx,bdx->abcd", II, II, precision="highest")


def ricci_tensor(chart: AbstractChart, u: Coordinates) -> Float[Array, "k k"]:
    """Ric[b, c] = sum_a R[a, b, c, a], in an orthonormal frame."""
    return jnp.einsum("abca->bc", riemann_tensor(chart, u))


def scalar_curvature(chart: AbstractChart, u: Coordinates) -> Scalar:
    """|H|^2 - |II|^2, the trace of the Ricci tensor; twice the Gauss curvature of a surface."""
    II = orthonormal_form(chart, u)
    H = jnp.einsum("aax->x", II)
    return jnp.sum(H * H) - jnp.sum(II * II)


def gauss_curvature(chart: AbstractChart, u: Coordinates) -> Scalar:
    """The Gauss curvature of a surface, whatever the dimension around it; ValueError unless k = 2."""
    if len(u) != 2:
        raise ValueError(f"the Gauss curvature is for surfaces, got dimension {len(u)}; use scalar_curvature")
    return scalar_curvature(chart, u) / 2
