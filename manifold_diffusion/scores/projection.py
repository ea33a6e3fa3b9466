"""The coarse score: right to the order sigma^-2, and blind to the density."""

import equinox as eqx

from manifold_diffusion._types import Point, Scalar
from manifold_diffusion.geometry.manifold import AbstractManifold


class ProjectionScore(eqx.Module):
    """s(x, sigma) = (Pi(x) - x) / sigma^2, with Pi the nearest-point projection of a manifold, true or estimated.

    The score of p_sigma is -grad dist(x, M)^2 / (2 sigma^2) + O(1) near M, and grad dist^2 / 2 = x - Pi(x): this is
    its leading term ("When Scores Learn Geometry", arXiv 2509.24912; coarse scores: arXiv 2603.23792).
    """

    manifold: AbstractManifold

    def __call__(self, x: Point, sigma: Scalar) -> Point:
        return (self.manifold.project(x) - x) / sigma**2

    def denoise(self, x: Point, sigma: Scalar) -> Point:
        """Pi(x), whatever sigma is."""
        return self.manifold.project(x)
