"""The vocabulary: what the words point, sampler, score and estimator mean as types.

One point in, one value out; a batch is `jax.vmap`. Batches are written `Points` and only appear where a function is
about a whole sample (an estimator, a discrepancy).
"""

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Array, Float, PRNGKeyArray

Key: TypeAlias = PRNGKeyArray
Scalar: TypeAlias = Float[Array, ""]
Coordinates: TypeAlias = Float[Array, " k"]
Point: TypeAlias = Float[Array, " d"]
Points: TypeAlias = Float[Array, "n d"]
Queries: TypeAlias = Float[Array, "m d"]
"""A second batch of points, of another size than the first."""

Sampler: TypeAlias = Callable[[Key], Point]
"""A source of points: the truth, a prior and a fitted model all have this type."""

Score: TypeAlias = Callable[[Point, Scalar], Point]
"""(x, sigma) -> grad log p_sigma(x), where sigma is the noise level, never a time."""

Denoiser: TypeAlias = Callable[[Point, Scalar], Point]
"""(x, sigma) -> E[X_0 | X_0 + sigma Z = x]."""

Estimator: TypeAlias = Callable[[Key, Points], Sampler]
"""Data to a sampler of new points."""

Discrepancy: TypeAlias = Callable[[Points, Points], Scalar]
"""How far two samples are from one another."""
