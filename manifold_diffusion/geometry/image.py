"""Manifolds of images: a smooth shape, drawn on a grid of pixels, that moves, turns and grows.

With I the intensity of the shape, the pixel at p holds s^-m I(R_a^T (p - c) / s), c the centre, a the angle and s the
scale, in pixels, y upwards, with the origin in the middle of the image; m is `dimming`. A pixel has area 1, so sums
over pixels are integrals, exact beyond any power of the blur where the shape is smooth and inside the frame.

One round blob I(p) = exp(-|p|^2 / 2), whose width is its scale s, has a metric in closed form (derived: with X = |p|^2
/ s^2, exponential of mean 1 under I^2, <d_i x, d_j x> = pi s^-2m delta_ij / 2 and |d_s x|^2 = pi s^-2m E (X - m)^2):

    g = pi s^-2m (|dc|^2 / 2 + (m^2 - 2 m + 2) ds^2),

flat for m = 0 and, for m = 1, hyperbolic of curvature -1 / pi, in any number of translations.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, Float

from manifold_diffusion._numerics import known_false
from manifold_diffusion._types import Coordinates, Point, Scalar
from manifold_diffusion.geometry.embedding import from_embedding
from manifold_diffusion.geometry.manifold import as_module
from manifold_diffusion.geometry.parametrised import Ends, Parametrised

Motion: TypeAlias = Literal["translation", "rotation", "scale"]
Place: TypeAlias = Float[Array, " 2"]

_MOTIONS: tuple[Motion, ...] = ("translation", "rotation", "scale")


class Blobs(eqx.Module):
    """sum_i height_i exp(-|p - centre_i|^2 / (2 width_i^2)); by default one round blob of width 1.

    `symmetry` is the number of rotations that leave the shape as it is.
    """

    centres: Float[Array, "blobs 2"]
    widths: Float[Array, " blobs"]
    heights: Float[Array, " blobs"]
    symmetry: int = eqx.field(static=True)

    def __init__(self, centres=((0.0, 0.0),), widths=1.0, heights=1.0, symmetry: int = 1):
        self.centres = jnp.asarray(centres, dtype=float)
        count = len(self.centres)
        self.widths = jnp.broadcast_to(jnp.asarray(widths, dtype=float), (count,))
        self.heights = jnp.broadcast_to(jnp.asarray(heights, dtype=float), (count,))
        _require_positive("the widths of blobs", self.widths)
        self.symmetry = symmetry

    def __call__(self, p: Place) -> Scalar:
        gap = (p[None, :] - self.centres.astype(p.dtype)) / self.widths.astype(p.dtype)[:, None]
        return jnp.sum(self.heights.astype(p.dtype) * jnp.exp(-jnp.sum(gap * gap, axis=1) / 2))


class BlurredEllipse(eqx.Module):
    """Phi(sqrt(a b) (1 - (x/a)^2 - (y/b)^2) / (2 blur)), Phi the normal distribution function: 1/2 on the ellipse, with
    an edge that is blur sqrt(a/b) wide at the ends of the axis a and blur sqrt(b/a) at those of b.
    """

    axes: Float[Array, " 2"]
    blur: Scalar
    symmetry: int = eqx.field(static=True, default=2)

    def __init__(self, axes=(8.0, 4.0), blur: float | int | Scalar = 1.0):
        self.axes, self.blur = jnp.asarray(axes, dtype=float), jnp.asarray(blur, dtype=float)
        _require_positive("the axes of an ellipse", self.axes)
        _require_positive("the blur", self.blur)
        self.symmetry = 2

    def __call__(self, p: Place) -> Scalar:
        axes, blur = self.axes.astype(p.dtype), self.blur.astype(p.dtype)
        inside = 1 - jnp.sum((p / axes) ** 2)
        return ndtr(jnp.sqrt(axes[0] * axes[1]) * inside / (2 * blur))


class BlurredBlocks(eqx.Module):
    """Rectangles with sides along the axes, seen through a Gaussian blur: the sum of the convolutions of their
    indicators with a normal density of standard deviation `blur`, products of error functions.

    Each row is (left, right, bottom, top). Rectangles that touch make one shape; `blurred_bar` and `blurred_corner` are
    two such.
    """

    rectangles: Float[Array, "blocks 4"]
    blur: Scalar
    symmetry: int = eqx.field(static=True)

    def __init__(self, rectangles, blur: float | int | Scalar = 1.0, symmetry: int = 1):
        self.rectangles, self.blur = jnp.asarray(rectangles, dtype=float), jnp.asarray(blur, dtype=float)
        _require_positive("the sides of rectangles", self.rectangles[:, 1::2] - self.rectangles[:, ::2])
        _require_positive("the blur", self.blur)
        self.symmetry = symmetry

    def __call__(self, p: Place) -> Scalar:
        place = jnp.stack([p[0], p[0], p[1], p[1]])
        ends = erf((place[None, :] - self.rectangles.astype(p.dtype)) / (jnp.sqrt(2.0) * self.blur).astype(p.dtype))
        return jnp.sum((ends[:, 0] - ends[:, 1]) * (ends[:, 2] - ends[:, 3])) / 4


def blurred_bar(length: float | int = 12.0, thickness: float | int = 4.0, blur: float | int = 1.0) -> BlurredBlocks:
    """A rectangle around the origin, which half a turn leaves as it is."""
    return BlurredBlocks([[-length / 2, length / 2, -thickness / 2, thickness / 2]], blur, symmetry=2)


def blurred_corner(size: float | int = 10.0, thickness: float | int = 3.0, blur: float | int = 1.0) -> BlurredBlocks:
    """The letter L with arms of lengths `size` and 0.7 `size`: no rotation or reflection leaves it as it is."""
    foot, left, low = 0.7 * size, -0.35 * size, -0.5 * size
    stem = [left, left + thickness, low, low + size]
    return BlurredBlocks([stem, [left + thickness, left + foot, low, low + thickness]], blur)


class RenderedShape(eqx.Module):
    """u -> the image of the shape as a vector of `pixels`^2 numbers, row by row from the top; u holds the centre (two),
    the angle and the scale, those of them that are among the motions.
    """

    shape: Callable[[Place], Scalar]
    dimming: Scalar
    pixels: int = eqx.field(static=True)
    motions: tuple[Motion, ...] = eqx.field(static=True)

    def __call__(self, u: Coordinates) -> Point:
        centre, angle, scale = self.pose(u)
        gap = (_pixel_centres(self.pixels, u.dtype) - centre[None, :]) / scale
        c, s = jnp.cos(angle), jnp.sin(angle)
        turned = jnp.stack([c * gap[:, 0] + s * gap[:, 1], c * gap[:, 1] - s * gap[:, 0]], axis=1)
        return jnp.exp(-self.dimming.astype(u.dtype) * jnp.log(scale)) * jax.vmap(self.shape)(turned)

    def image(self, u: Coordinates) -> Float[Array, "pixels pixels"]:
        """The image as a square, top row first."""
        return self(u).reshape(self.pixels, self.pixels)

    def pose(self, u: Coordinates) -> tuple[Place, Scalar, Scalar]:
        """(centre, angle, scale), where what does not move is (0, 0), 0 and 1."""
        rest = list(u)
        zero = jnp.zeros((), u.dtype)
        centre = jnp.stack([rest.pop(0), rest.pop(0)] if "translation" in self.motions else [zero, zero])
        angle = rest.pop(0) if "rotation" in self.motions else zero
        return centre, angle, rest.pop(0) if "scale" in self.motions else zero + 1


def image_manifold(
    shape: Callable[[Place], Scalar],
    pixels: int = 32,
    motions: Sequence[Motion] = _MOTIONS,
    shift: float | int | None = None,
    scales: tuple[float | int, float | int] = (0.75, 1.25),
    dimming: float | int | Scalar = 0.0,
    symmetry: int | None = None,
    grid: int | Sequence[int] | None = None,
) -> Parametrised:
    """The images of a shape (`Blobs`, `BlurredEllipse`, `blurred_bar`, `blurred_corner`, or any smooth function of a
    place) under the motions, a manifold in R^(pixels^2): dimension 2 for translations by up to `shift` pixels (by
    default an eighth of the image) along each axis, 1 for rotations, which wrap, and 1 for scales between two numbers.

    `manifold.embedding` is the `RenderedShape`, `manifold.parameter(x)` its inverse. `symmetry` is the number of
    rotations that leave the shape as it is, by default what the shape says, else 1: angles run up to 2 pi / symmetry.
    `grid` is as for `from_embedding`; by default starts lie a twentieth of the image, a 16th of a turn and a quarter in
    log scale apart, 1728 images for all motions: enough where no feature of the shape is finer. A shape that a motion
    leaves as it is, such as a disc that turns, is refused there with the parameters at which it is.
    """
    chosen: tuple[Motion, ...] = tuple(motion for motion in _MOTIONS if motion in motions)
    if not chosen or len(chosen) != len(motions):
        raise ValueError(f"motions must be some of {', '.join(_MOTIONS)}, each once, got {tuple(motions)}")
    if pixels < 2:
        raise ValueError(f"an image needs at least 2 pixels a side, got {pixels}")
    if not 0 < scales[0] < scales[1]:
        raise ValueError(f"scales must be (smallest, largest) with 0 < smallest < largest, got {scales}")
    if jax.eval_shape(shape, jnp.zeros(2)).shape != ():
        raise ValueError("the shape must map a place, of shape (2,), to one number, its intensity there")
    most = pixels / 8 if shift is None else float(shift)
    turns = getattr(shape, "symmetry", 1) if symmetry is None else symmetry
    domains = {
        "translation": [(-most, most), (-most, most)],
        "rotation": [(0.0, 2 * np.pi / turns)],
        "scale": [scales],
    }
    domain = [side for motion in chosen for side in domains[motion]]
    ends: list[Ends] = ["wrap" if motion == "rotation" else "edge" for motion in chosen for _ in domains[motion]]
    default = {
        "translation": 2 * [1 + int(np.ceil(40 * most / pixels))],
        "rotation": [max(8, 16 // turns)],
        "scale": [1 + int(np.ceil(4 * np.log(scales[1] / scales[0]) - 0.1))],
    }
    starts = [count for motion in chosen for count in default[motion]] if grid is None else grid
    rendered = RenderedShape(as_module(shape), jnp.asarray(dimming, dtype=float), pixels, chosen)
    return from_embedding(rendered, domain, ends, starts)


def _pixel_centres(pixels: int, dtype) -> Float[Array, "d 2"]:
    along = np.arange(pixels) - (pixels - 1) / 2
    x, y = np.meshgrid(along, -along, indexing="xy")
    return jnp.asarray(np.stack([x.ravel(), y.ravel()], axis=1), dtype)


def _require_positive(what: str, values: Array) -> None:
    if known_false(jnp.all(values > 0)):
        raise ValueError(f"{what} must be positive, got {np.asarray(values).tolist()}")
