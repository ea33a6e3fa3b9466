"""Charts, atlases and manifolds: true ones in closed form, and ones estimated from data."""

from manifold_diffusion.geometry.atlas import (
    EstimatedAtlas,
    PolynomialChart,
    default_neighbours,
    fit_atlas,
    fit_chart,
    monomial_count,
)
from manifold_diffusion.geometry.curve import FourierCurve, HoelderCurve
from manifold_diffusion.geometry.ellipsoid import Ellipsoid
from manifold_diffusion.geometry.embedded import Embedded, random_frame
from manifold_diffusion.geometry.manifold import (
    AbstractChart,
    AbstractManifold,
    christoffel,
    jacobian,
    log_volume,
    mean_curvature_vector,
    metric_tensor,
    nearest_coordinates,
    normal_frame,
    second_fundamental_form,
    shape_operator,
    tangent_frame,
)
from manifold_diffusion.geometry.sphere import Sphere
from manifold_diffusion.geometry.surface import HoelderSurface
from manifold_diffusion.geometry.torus import Torus

__all__ = [
    "AbstractChart",
    "AbstractManifold",
    "Ellipsoid",
    "Embedded",
    "EstimatedAtlas",
    "FourierCurve",
    "HoelderCurve",
    "HoelderSurface",
    "PolynomialChart",
    "Sphere",
    "Torus",
    "christoffel",
    "default_neighbours",
    "fit_atlas",
    "fit_chart",
    "jacobian",
    "log_volume",
    "mean_curvature_vector",
    "metric_tensor",
    "monomial_count",
    "nearest_coordinates",
    "normal_frame",
    "random_frame",
    "second_fundamental_form",
    "shape_operator",
    "tangent_frame",
]
