"""Volume and reach by quadrature with an error, bounds on the reach, and projections that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import geometry

CLOSED = {
    "torus": (lambda: geometry.Torus(1.0, 0.4), 4 * np.pi**2 * 0.4, 0.4),
    "circle": (lambda: geometry.Sphere(1, 2.0), 4 * np.pi, 2.0),
    "ellipsoid": (lambda: geometry.Ellipsoid((1.0, 1.5, 2.0)), None, 0.5),
}


@pytest.mark.parametrize(("make", "volume", "reach"), CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_estimates_are_right_within_their_error(make, volume, reach, dtype):
    with jax.enable_x64(dtype == "float64"):
        manifold = make()
        found, size = geometry.reach_estimate(manifold), geometry.volume_estimate(manifold)
        volume = volume or manifold.volume()
        assert abs(float(found.value) - reach) <= float(found.error)
        assert float(found.error) < 0.01 * reach
        assert abs(float(size.value) - float(volume)) <= float(size.error) + 1e-6 * float(volume)
        assert float(size.error) < 1e-5 * float(volume)


def dense_reach(at, t):
    """Federer's quotient over all pairs of the points, derivatives by differences, nothing from the package."""
    step = 1e-6
    x = at(t)
    tangents = [(at(t + step * e) - at(t - step * e)) / (2 * step) for e in np.eye(t.shape[1])]
    frames = np.linalg.qr(np.stack(tangents, -1))[0]
    least = np.inf
    for point, frame in zip(x, frames, strict=True):
        gap = x - point
        across = gap - (gap @ frame) @ frame.T
        height = np.linalg.norm(across, axis=1)
        square = np.sum(gap**2, axis=1)
        seen = height > 1e-6
        least = min(least, np.min(square[seen] / (2 * height[seen])))
    return least


@pytest.mark.parametrize("exponent", [2.3, 2.5, 3.0])
def test_the_reach_of_a_hoelder_curve_is_above_its_bound(exponent, x64):
    curve = geometry.HoelderCurve(exponent)
    at = jax.jit(jax.vmap(lambda t: curve.at(t[0])))
    seen = dense_reach(
        lambda t: np.asarray(at(jnp.asarray(t))), np.linspace(0, 2 * np.pi, 2000, endpoint=False)[:, None]
    )
    bound = float(curve.reach())
    assert 0.05 < bound <= seen


def test_the_reach_of_a_hoelder_surface_is_above_its_bound(x64):
    surface = geometry.HoelderSurface(2.5)
    at = jax.jit(jax.vmap(surface.at))
    angles = 2 * np.pi * np.random.default_rng(0).random((2500, 2))
    seen = dense_reach(lambda u: np.asarray(at(jnp.asarray(u))), angles)
    bound = float(surface.reach())
    assert 0.2 < bound <= seen


def test_the_bound_of_a_wild_curve_goes_to_zero_with_its_finest_wave(x64):
    bounds = [float(geometry.HoelderCurve(1.8, levels=levels).reach()) for levels in (8, 16, 24)]
    assert bounds[0] > bounds[1] > bounds[2] > 0
    assert float(geometry.HoelderCurve(1.2).reach()) == 0


def test_points_without_a_certain_foot_are_refused_and_named():
    torus = geometry.Torus(1.0, 0.4)
    points = jnp.asarray([[1.1, 0.0, 0.2], [0.0, 1.5, 0.1], [0.05, 0.0, 0.3]])
    np.testing.assert_allclose(geometry.checked_projection(torus, points[:2]), jax.vmap(torus.project)(points[:2]))
    with pytest.raises(ValueError, match=r"1 of 3 points .* x = \(0.05, 0, 0.3\).*not within the reach, 0.4,"):
        geometry.checked_projection(torus, points)
    with pytest.raises(ValueError, match="not finite"):
        geometry.checked_projection(torus, jnp.asarray([[jnp.nan, 0.0, 0.0]]))
    # The equation has no solution near the origin, and the search ends off the level set.
    sphere = geometry.from_equations(lambda x: jnp.sum(x * x) - 1, 3)
    with pytest.raises(ValueError, match=r"x = \(0, 0, 0\)"):
        geometry.checked_projection(sphere, jnp.zeros((1, 3)), reach=1.0)
    with pytest.raises(ValueError, match="no quadrature"):
        geometry.volume_estimate(geometry.HoelderCurve(2.5))
    with pytest.raises(ValueError, match="without edges"):
        geometry.reach_estimate(geometry.moebius_band(grid=16))
