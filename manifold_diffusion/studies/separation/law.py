"""S9: the generated law reaches its own target at the parametric rate, and no other."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion._types import Key, Points
from manifold_diffusion.evaluation import chi_square, squared_hellinger
from manifold_diffusion.evaluation.generated_law import (
    HypersurfaceFrame,
    generated_density,
    hypersurface_frame,
    projected_density,
)
from manifold_diffusion.geometry import Ellipsoid, Torus
from manifold_diffusion.studies.claim import Check, Claim, Experiment, Grid, Number, Scale
from manifold_diffusion.studies.separation.coarse import PAPER, SEPARATION, half_and_half, sample


class FixedTarget:
    """A manifold with density 3:1 across a plane, noise of a fixed level, and nodes that resolve both.

    nu = int q(. | x) dmu(x) is the target; I = int int q^2 / nu dmu dvol - 1 its constant: E chi2(g, nu) = I / N
    exactly, g being a mean of N independent terms q(. | X_i) with mean nu. The plane is turned by half a node so that
    it falls between nodes, where the quadrature of a jump is of second order.
    """

    def __init__(self, manifold: Ellipsoid | Torus, level: float, order: int, fine: int, longitudes: int, scale):
        turn = math.pi / longitudes
        direction = jnp.asarray([math.cos(turn), math.sin(turn)]) / jnp.asarray(scale)
        self.manifold, self.level, self.cut = manifold, level, float(manifold.reach())
        self.measure = half_and_half(manifold, jnp.pad(direction, (0, manifold.ambient_dim - 2)))
        points, self.weights = manifold.quadrature(order)
        self.frames = jax.jit(jax.vmap(partial(hypersurface_frame, manifold)))(points)
        nodes, volumes = manifold.quadrature(fine)
        mass = volumes * jnp.exp(jax.vmap(self.measure.log_density)(nodes))
        self.target = generated_density(self.frames, nodes, level, self.cut, mass)
        second = _second_moment(self.frames, nodes, mass, level, self.cut)
        self.constant = float(jnp.sum(self.weights * second / self.target)) - 1
        self.true = jnp.exp(jax.vmap(self.measure.log_density)(points))
        self.gap = float(squared_hellinger(self.target, self.true, self.weights))

    def density(self, data: Points) -> jax.Array:
        """g on the nodes."""
        return generated_density(self.frames, data, self.level, self.cut)


def _second_moment(frames: HypersurfaceFrame, nodes: Points, mass, level: float, cut: float):
    """int q(y | x)^2 dmu(x)."""

    def one(frame):
        q = jax.vmap(lambda x: projected_density(frame, x, jnp.asarray(level), jnp.asarray(cut)))(nodes)
        return jnp.sum(mass * q**2)

    return jax.lax.map(one, frames, batch_size=64)


def _ellipse() -> FixedTarget:
    axes = (1.0, 0.7)
    return FixedTarget(Ellipsoid(axes), 0.08, order=256, fine=4096, longitudes=4096, scale=axes)


def _torus() -> FixedTarget:
    return FixedTarget(Torus(1.0, 0.5), 0.083, order=48, fine=128, longitudes=256, scale=(1.0, 1.0))


_targets: dict[str, FixedTarget] = {}


def _target(name: str) -> FixedTarget:
    # The quadrature of the target is the same in every cell, and takes longer than a small cell.
    if name not in _targets:
        _targets[name] = {"ellipse": _ellipse, "torus": _torus}[name]()
    return _targets[name]


def _divergence(key: Key, size: Number, *, name: str, draws: int):
    target = _target(name)
    data = sample(target.measure, key, draws * size).reshape(draws, int(size), -1)
    densities = [target.density(each) for each in data]
    chi2 = np.mean([float(chi_square(g, target.target, target.weights)) for g in densities])
    h2 = np.mean([float(squared_hellinger(jnp.maximum(g, 0), target.target, target.weights)) for g in densities])
    to_data_law = np.mean([float(squared_hellinger(jnp.maximum(g, 0), target.true, target.weights)) for g in densities])
    return {
        "coarse": {
            "chi2": float(chi2),
            "N chi2 / I": float(size * chi2 / target.constant),
            "H2": float(h2),
            "8 N H2 / I": float(8 * size * h2 / target.constant),
            "H2 to the data's law": float(to_data_law),
            "H2 to the data's law / its limit": float(to_data_law / target.gap),
            "I": target.constant,
        }
    }


_ELLIPSE_GRIDS: dict[Scale, Grid] = {
    "smoke": Grid((128, 512, 2048), 6),
    "cpu": Grid((128, 512, 2048, 8192), 20),
    "gpu": Grid((128, 512, 2048, 8192, 32_768, 131_072), 40),
}
_TORUS_GRIDS: dict[Scale, Grid] = {
    "cpu": Grid((512, 2048, 8192), 8),
    "gpu": Grid((1024, 4096, 16_384, 65_536, 262_144), 20),
}

S9 = Claim(
    id="S9",
    group=SEPARATION,
    title="near-parametric rate",
    statement=(
        "Chi-square from the generated law to its fixed target Pi_#(mu * N(0, t0 I)) is I/N exactly; to mu "
        "itself the law stalls."
    ),
    source=PAPER + "; the constant derived",
    experiments=(
        Experiment("ellipse", partial(_divergence, name="ellipse", draws=10), ("coarse",), _ELLIPSE_GRIDS),
        Experiment(
            "ellipse, large N",
            partial(_divergence, name="ellipse", draws=1),
            ("coarse",),
            {"cpu": Grid((16_384, 131_072), 4), "gpu": Grid((131_072, 1_048_576), 10)},
        ),
        Experiment("torus", partial(_divergence, name="torus", draws=2), ("coarse",), _TORUS_GRIDS),
    ),
    checks=(
        Check("ellipse", "coarse", "chi2", "slope", -1.0, 0.03, smoke_tolerance=0.3),
        Check("ellipse", "coarse", "N chi2 / I", "mean", 1.0, 0.05, smoke_tolerance=0.4),
        Check("ellipse", "coarse", "8 N H2 / I", "mean", 1.0, 0.05, min_size=512, smoke_tolerance=0.4),
        Check("ellipse, large N", "coarse", "H2 to the data's law / its limit", "mean", 1.0, 0.05, min_size=131_072),
        Check("torus", "coarse", "chi2", "slope", -1.0, 0.03, smoke_tolerance=0.3),
        Check("torus", "coarse", "N chi2 / I", "mean", 1.0, 0.05, smoke_tolerance=0.4),
    ),
)
