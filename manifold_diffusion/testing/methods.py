"""The ways to use an object at one point, as functions of the object: programs are kept by them, so each is written
once.
"""

import jax
import jax.numpy as jnp


def call(sampler, key):
    """A point of a sampler."""
    return sampler(key)


def uniform(manifold, key):
    """A uniform point."""
    return manifold.uniform(key)


def sample(measure, key):
    """A point of a measure."""
    return measure.sample(key)


def log_density(measure, x):
    """Of a measure, at a point."""
    return measure.log_density(x)


def gradient(measure, x):
    """Of the log density of a measure."""
    return jax.grad(measure.log_density)(x)


def project(manifold, x, *_):
    """The nearest point."""
    return manifold.project(x)


def tangent(manifold, x, v):
    """The tangential part of v."""
    return manifold.tangent(x, v)


def chart(manifold, x, v):
    """The chart around a point."""
    return manifold.chart(x)


def chart_coordinates(manifold, x, v):
    """The coordinates of a point in its own chart."""
    return manifold.chart(x).coordinates(x)


def chart_embed(manifold, x, v):
    """The point of a chart at the coordinates zero."""
    return manifold.chart(x).embed(jnp.zeros((manifold.dim,), x.dtype))


def embed(chart, u, w):
    """The point of a chart."""
    return chart.embed(u)


def coordinates(chart, u, w):
    """The coordinates of that point."""
    return chart.coordinates(chart.embed(u))


def score(score, x, sigma, *_):
    """A score at one noise level."""
    return score(x, sigma)


def denoise(score, x, sigma, *_):
    """The denoiser that a score brings."""
    return score.denoise(x, sigma)
