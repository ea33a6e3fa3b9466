"""Losses of models that are coarse by construction: denoising score matching in disguise.

With s(x, sigma) = (Pi(x) - x) / sigma^2 the score of a projection Pi, x a datum and y = x + sigma z,

    sigma^4 |s(y, sigma) + z / sigma|^2 = |Pi(y) - x|^2,

point by point, because sigma z = y - x: the loss of denoising score matching is that of reconstruction. Its minimiser
lies off the manifold by O(sigma^2). On a sphere S^k of radius 1 in R^d, Pi_R(y) = R y / |y| the projection on the
sphere of radius R with the same centre, E|Pi_R(y) - x|^2 = R^2 - 2 R m + 1 is smallest at

    R = m = E <x, y> / |y| = 1 - k sigma^2 / 2 + O(sigma^4),

the mean curvature k moved by sigma^2 / 2, inwards (derived: only the part of sigma z along the sphere turns y / |y|, by
an angle of mean square k sigma^2). Clean points, weighted by w, divide that by 1 + w.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from manifold_diffusion._numerics import dot
from manifold_diffusion._types import Denoiser, Key, Point, Scalar
from manifold_diffusion.geometry import Decoded, Implicit
from manifold_diffusion.training.loss import Noise, noised


class Reconstruction(eqx.Module):
    """|G(E(y)) - x|^2 + clean |G(E(x)) - x|^2 for the decoder G and encoder E of `scores.neural.chart_autoencoder`.

    G(E(y)) stands for the nearest point to y of the decoder's image, which is found only when the model is used: the
    loss sees to it that the search starts well, and `clean` weighs down the bias that noise brings (see above).
    """

    noise: Noise
    clean: float = 100.0

    def __call__(self, model: Denoiser, key: Key, x: Point) -> Scalar:
        _, y, _ = noised(self.noise, key, x)
        manifold = getattr(model, "manifold", None)
        if not isinstance(manifold, Decoded):
            raise ValueError(
                f"reconstruction needs a CoarseModel of a Decoded; got the manifold {type(manifold).__name__}"
            )
        return _square(manifold.reconstruct(y) - x) + self.clean * _square(manifold.reconstruct(x) - x)


class Projection(eqx.Module):
    """|Pi(y) - x|^2 + clean |h(x)|^2 + upright |A A^T - I|^2, A = Dh(Pi(y)), for the equations h of
    `scores.neural.implicit_network`, Pi(y) by `steps` Gauss-Newton steps.

    The third term makes h a distance in every direction (the eikonal equation |Dh| = 1 for one equation; Gropp et al.,
    arXiv 2002.10099), which keeps the steps well conditioned, and |h(x)| the distance from x to the set. Only the last
    step is differentiated in h, at a third of the cost of all: where the steps have converged that is wrong by a
    factor 1 + O(|y - Pi(y)| times the curvature) (derived; "one-step differentiation" in Bolte et al., arXiv
    2305.13768).
    """

    noise: Noise
    clean: float = 100.0
    upright: float = 0.1
    steps: int = eqx.field(static=True, default=4)

    def __call__(self, model: Denoiser, key: Key, x: Point) -> Scalar:
        _, y, _ = noised(self.noise, key, x)
        manifold = getattr(model, "manifold", None)
        if not isinstance(manifold, Implicit):
            raise ValueError(
                f"a projection on zeros needs a CoarseModel of an Implicit; got the manifold {type(manifold).__name__}"
            )
        start = jax.lax.stop_gradient(manifold.descend(y, self.steps - 1))
        end, A = manifold.approach(start, y)
        upright = dot(A, A.T) - jnp.eye(len(A), dtype=x.dtype)
        clean = self.clean * _square(manifold.level_set.equations(x))
        return _square(end - x) + clean + self.upright * jnp.sum(upright * upright)


def _square(x: Point) -> Scalar:
    return jnp.sum(x * x)
