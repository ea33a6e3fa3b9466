"""The hidden manifold model of Goldt, Mezard, Krzakala and Zdeborova (Physical Review X 10, 041044, 2020, eq. 1):
points x = g(F z / sqrt(k)) of R^d that k latent numbers make, g a function of one number applied to each component.

With a = F z / sqrt(k) the fields, the Jacobian is diag(g'(a)) F / sqrt(k): where F has rank k and g' > 0 the image is
an immersed manifold, and since a -> g(a) is one to one and a -> z linear, an embedded one, with coordinates

    z = sqrt(k) (F^T W F)^{-1} F^T W g^{-1}(x),    W = diag(g'(a)^2).

On the manifold any weights W give z; these are the ones that weigh down what saturates, since an error e of x_i is one
of e / g'(a_i) in a_i.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import erf, erfinv
from jaxtyping import Array, Float

from manifold_diffusion._numerics import chunked_map, dot, rejection
from manifold_diffusion._small_matrices import cholesky_rows, solve_positive
from manifold_diffusion._types import Coordinates, Key, Point, Points, Scalar
from manifold_diffusion.geometry.manifold import (
    AbstractChart,
    AbstractManifold,
    as_module,
    log_volume,
    nearest_coordinates,
    tangent_frame,
)

_INVERSES = {jnp.tanh: jnp.arctanh, erf: erfinv, jnp.arcsinh: jnp.sinh}
_ORDERS = {1: 256, 2: 96, 3: 32, 4: 16}
_MARGIN = 1.01


class _HiddenChart(AbstractChart):
    # u -> the point with the latent numbers origin + u.
    manifold: "HiddenManifold"
    origin: Coordinates

    def embed(self, u: Coordinates) -> Point:
        return self.manifold.embedding(self.origin.astype(u.dtype) + u)

    def coordinates(self, x: Point) -> Coordinates:
        return self.manifold.latent(x) - self.origin.astype(x.dtype)


class HiddenManifold(AbstractManifold):
    """g(F z / sqrt(k)) for z in the box [-radius, radius]^k, g smooth with g' > 0 and F (d, k) of rank k.

    `inverse` is that of g; for tanh, erf and arcsinh it is known, for others bisection stands in. The model's own law,
    z standard normal, here conditioned on the box, is `sample`, with `log_density`.
    """

    frame: Float[Array, "d k"]
    radius: Scalar
    nonlinearity: Callable[[Point], Point]
    inverse: Callable[[Point], Point]
    log_bound: Scalar
    dim: int = eqx.field(static=True)
    ambient_dim: int = eqx.field(static=True)

    def __init__(
        self,
        frame,
        nonlinearity: Callable = jnp.tanh,
        radius: float | int | Scalar = 2.0,
        inverse: Callable | None = None,
    ):
        self.frame, self.radius = jnp.asarray(frame, dtype=float), jnp.asarray(radius, dtype=float)
        self.ambient_dim, self.dim = self.frame.shape
        self.nonlinearity = as_module(nonlinearity)
        if not isinstance(self.frame, Tracer) and not isinstance(self.radius, Tracer):
            _require_embedding(self.nonlinearity, np.asarray(self.frame), float(self.radius))
        known = _INVERSES.get(nonlinearity) if inverse is None else inverse
        self.inverse = _Bisection(self.nonlinearity, self._widest()) if known is None else as_module(known)
        fields = self._widest() * jnp.linspace(-1, 1, 4097, dtype=self.frame.dtype)
        steepest = _MARGIN * jnp.max(_slopes(self.nonlinearity, fields))
        rows = cholesky_rows(dot(self.frame.T, self.frame) / self.dim)
        self.log_bound = self.dim * jnp.log(steepest) + sum(jnp.log(row[-1]) for row in rows)

    def fields(self, z: Coordinates) -> Point:
        """a = F z / sqrt(k)."""
        return dot(self.frame.astype(z.dtype), z) / np.sqrt(self.dim).astype(z.dtype)

    def embedding(self, z: Coordinates) -> Point:
        """x = g(a)."""
        return self.nonlinearity(self.fields(z))

    def latent(self, x: Point) -> Coordinates:
        """z of the point x of the manifold, in closed form; of other points, a first guess at that of the nearest."""
        widest = self._widest().astype(x.dtype)
        low, middle, high = self.nonlinearity(jnp.stack([-widest, jnp.zeros_like(widest), widest]))
        within = (x > low) & (x < high)
        a = jnp.where(within, self.inverse(jnp.where(within, x, middle)), jnp.where(x < middle, -widest, widest))
        F, weights = self.frame.astype(x.dtype), _slopes(self.nonlinearity, a) ** 2
        normal = dot((F * weights[:, None]).T, jnp.concatenate([F, a[:, None]], axis=1))
        return np.sqrt(self.dim).astype(x.dtype) * solve_positive(normal[:, :-1], normal[:, -1:])[:, 0]

    def parameter(self, x: Point) -> Coordinates:
        """z in the box of the nearest point, by Newton's method from `latent`."""
        most = jnp.broadcast_to(self.radius.astype(x.dtype), (self.dim,))
        start = jnp.clip(self.latent(x), -most, most)
        return nearest_coordinates(self.whole(), x, start, steps=12, box=(-most, most))

    def whole(self) -> _HiddenChart:
        """The chart whose coordinates are the latent numbers themselves."""
        return _HiddenChart(self, jnp.zeros(self.dim, self.frame.dtype))

    def project(self, x: Point) -> Point:
        return self.embedding(self.parameter(x))

    def tangent(self, x: Point, v: Point) -> Point:
        frame = tangent_frame(self.whole(), self.latent(x))
        return dot(frame, dot(frame.T, v))

    def chart(self, x: Point) -> _HiddenChart:
        return _HiddenChart(self, self.latent(x))

    def volume(self) -> Scalar:
        """By `quadrature`, for k <= 4; no error is estimated."""
        if self.dim not in _ORDERS:
            raise ValueError(f"the volume is found by quadrature, for k <= {max(_ORDERS)}, got k = {self.dim}")
        return jnp.sum(self.quadrature(_ORDERS[self.dim])[1])

    def quadrature(self, order: int) -> tuple[Points, Float[Array, " n"]]:
        """Gauss-Legendre, `order` nodes a latent number."""
        nodes, weights = np.polynomial.legendre.leggauss(order)
        z = np.stack([m.ravel() for m in np.meshgrid(*[nodes] * self.dim, indexing="ij")], -1)
        w = np.prod(np.meshgrid(*[weights] * self.dim, indexing="ij"), axis=0).ravel()
        return _nodes(self, self.radius * jnp.asarray(z, self.radius.dtype), jnp.asarray(w, self.radius.dtype))

    def uniform(self, key: Key) -> Point:
        """Rejection against sup(g')^k sqrt(det(F^T F / k)), which bounds the volume element by the Cauchy-Binet
        formula; the share that is kept falls geometrically with k.
        """

        def propose(place):
            z = self.radius * jax.random.uniform(place, (self.dim,), self.radius.dtype, -1.0, 1.0)
            return z, log_volume(self.whole(), z) - self.log_bound

        z, excess = rejection(key, propose)
        z = eqx.error_if(z, ~(excess <= 0), "the slope of the nonlinearity exceeds its bound: it is not smooth enough")
        return self.embedding(z)

    def sample(self, key: Key) -> Point:
        """g(F z / sqrt(k)), z standard normal conditioned on the box."""
        z = jax.random.truncated_normal(key, -self.radius, self.radius, (self.dim,), self.radius.dtype)
        return self.embedding(z)

    def log_density(self, x: Point) -> Scalar:
        """Of `sample`, with respect to Riemannian volume: log N(z) - k log P(|N(0, 1)| <= radius) - log sqrt(det g)."""
        z = self.latent(x)
        inside = jnp.log(erf(self.radius / jnp.sqrt(2.0).astype(self.radius.dtype))) + np.log(2 * np.pi) / 2
        return -jnp.sum(z * z) / 2 - self.dim * inside.astype(x.dtype) - log_volume(self.whole(), z)

    def _widest(self) -> Scalar:
        # The largest field in the box.
        return self.radius * jnp.max(jnp.sum(jnp.abs(self.frame), axis=1)) / np.sqrt(self.dim)


def hidden_manifold(
    key: Key,
    dim: int,
    ambient_dim: int,
    nonlinearity: Callable = jnp.tanh,
    radius: float | int | Scalar = 2.0,
    inverse: Callable | None = None,
) -> HiddenManifold:
    """The hidden manifold with independent standard normal entries of F; `HiddenManifold` takes an F of one's own."""
    if not 0 < dim < ambient_dim:
        raise ValueError(f"a hidden manifold needs 0 < dim < ambient_dim, got {dim} and {ambient_dim}")
    return HiddenManifold(jax.random.normal(key, (ambient_dim, dim)), nonlinearity, radius, inverse)


@eqx.filter_jit
def _nodes(manifold: HiddenManifold, z, weights) -> tuple[Points, Float[Array, " n"]]:
    chart = manifold.whole()
    points, elements = chunked_map(lambda v: (chart.embed(v), jnp.exp(log_volume(chart, v))), z, 4096)
    return points, elements * weights * manifold.radius**manifold.dim


class _Bisection(eqx.Module):
    # The inverse of an increasing function of one number on [-widest, widest], component by component.
    function: Callable
    widest: Scalar

    def __call__(self, y):
        widest, target = self.widest.astype(y.dtype), jax.lax.stop_gradient(y)
        digits = jnp.finfo(y.dtype).nmant + 2

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            below = self.function(middle) < target
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        low, high = jax.lax.fori_loop(0, digits, halve, (jnp.full_like(y, -widest), jnp.full_like(y, widest)))
        a = jax.lax.stop_gradient((low + high) / 2)
        # Two steps of Newton's method carry the first three derivatives with respect to y.
        for _ in range(2):
            a = a - (self.function(a) - y) / _slopes(self.function, a)
        return a


def _slopes(g: Callable, a):
    return jax.jvp(g, (a,), (jnp.ones_like(a),))[1]


def _require_embedding(g: Callable, frame: np.ndarray, radius: float) -> None:
    d, k = frame.shape
    if not radius > 0:
        raise ValueError(f"the radius of the latent box must be positive, got {radius}")
    singular = np.linalg.svd(frame, compute_uv=False)
    if d <= k or not singular[-1] > 100 * np.finfo(frame.dtype).eps * singular[0]:
        raise ValueError(f"F must be (d, k) of rank k < d, got shape {frame.shape} and singular values {singular}")
    # In float64, for in float32 the slope of tanh vanishes from 9 on.
    with jax.enable_x64(True):
        widest = radius * np.abs(frame).sum(axis=1).max() / np.sqrt(k)
        a = jnp.asarray(widest, dtype=float) * jnp.linspace(-1, 1, 4097, dtype=float)
        slopes = np.asarray(_slopes(g, a))
        bends = np.asarray(_slopes(lambda t: _slopes(g, t), a))
    if not (slopes > 0).all():
        where = int(np.argmin(np.where(np.isnan(slopes), -np.inf, slopes)))
        raise ValueError(
            f"the nonlinearity must be smooth and increasing, but its slope at {float(a[where]):.3g} is "
            f"{slopes[where]:.3g}; take tanh or erf, or a smaller radius"
        )
    rise = np.concatenate([[0.0], np.cumsum((bends[1:] + bends[:-1]) / 2 * np.diff(np.asarray(a)))])
    if np.abs(slopes - slopes[0] - rise).max() > 1e-2 * slopes.max():
        raise ValueError("the nonlinearity must be smooth, but its slope jumps; take a smooth one such as tanh")
