"""Charts, atlases and manifolds: true ones in closed form, and ones estimated from data."""

from manifold_diffusion.geometry.atlas import (
    EstimatedAtlas,
    PolynomialChart,
    default_neighbours,
    fit_atlas,
    fit_chart,
    from_points,
    monomial_count,
)
from manifold_diffusion.geometry.charted import Charted
from manifold_diffusion.geometry.curvature import (
    gauss_curvature,
    principal_curvatures,
    ricci_tensor,
    riemann_tensor,
    scalar_curvature,
)
from manifold_diffusion.geometry.curve import FourierCurve, HoelderCurve
from manifold_diffusion.geometry.decoded import Decoded
from manifold_diffusion.geometry.ellipsoid import Ellipsoid
from manifold_diffusion.geometry.embedded import Embedded, random_frame
from manifold_diffusion.geometry.embedding import from_embedding
from manifold_diffusion.geometry.euclidean import Euclidean
from manifold_diffusion.geometry.extent import Estimate, reach_estimate, volume_estimate
from manifold_diffusion.geometry.foot import checked_projection
from manifold_diffusion.geometry.geodesic import (
    exponential,
    geodesic_distance,
    logarithm,
    second_form,
    transport,
)
from manifold_diffusion.geometry.grassmann import Grassmann
from manifold_diffusion.geometry.hidden import HiddenManifold, hidden_manifold
from manifold_diffusion.geometry.hyperbolic import Hyperboloid, PoincareBall
from manifold_diffusion.geometry.image import (
    Blobs,
    BlurredBlocks,
    BlurredEllipse,
    RenderedShape,
    blurred_bar,
    blurred_corner,
    image_manifold,
)
from manifold_diffusion.geometry.implicit import Implicit
from manifold_diffusion.geometry.level_set import Certified, LevelSet, from_equations
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
from manifold_diffusion.geometry.parametrised import Parametrised
from manifold_diffusion.geometry.positive import LogEuclideanMatrices, PositiveMatrices
from manifold_diffusion.geometry.product import Product, flat_torus
from manifold_diffusion.geometry.riemannian import (
    AbstractRiemannian,
    intrinsic_christoffel,
    intrinsic_geodesic,
    intrinsic_ricci,
    intrinsic_riemann,
    intrinsic_scalar,
    intrinsic_transport,
    metric_of,
    sectional_curvature,
)
from manifold_diffusion.geometry.rotation import (
    SpecialEuclidean,
    SpecialOrthogonal,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from manifold_diffusion.geometry.shapes import (
    double_torus,
    figure_eight_knot,
    klein_bottle,
    moebius_band,
    surface_of_revolution,
    swiss_roll,
    torus_knot,
    trefoil,
)
from manifold_diffusion.geometry.sphere import Sphere
from manifold_diffusion.geometry.stiefel import Stiefel
from manifold_diffusion.geometry.surface import HoelderSurface
from manifold_diffusion.geometry.torus import Torus

__all__ = [
    "AbstractChart",
    "AbstractManifold",
    "AbstractRiemannian",
    "Blobs",
    "BlurredBlocks",
    "BlurredEllipse",
    "Certified",
    "Charted",
    "Decoded",
    "Ellipsoid",
    "Embedded",
    "Estimate",
    "EstimatedAtlas",
    "Euclidean",
    "FourierCurve",
    "Grassmann",
    "HiddenManifold",
    "HoelderCurve",
    "HoelderSurface",
    "Hyperboloid",
    "Implicit",
    "LevelSet",
    "LogEuclideanMatrices",
    "Parametrised",
    "PoincareBall",
    "PolynomialChart",
    "PositiveMatrices",
    "Product",
    "RenderedShape",
    "SpecialEuclidean",
    "SpecialOrthogonal",
    "Sphere",
    "Stiefel",
    "Torus",
    "blurred_bar",
    "blurred_corner",
    "checked_projection",
    "christoffel",
    "default_neighbours",
    "double_torus",
    "exponential",
    "figure_eight_knot",
    "fit_atlas",
    "fit_chart",
    "flat_torus",
    "from_embedding",
    "from_equations",
    "from_points",
    "gauss_curvature",
    "geodesic_distance",
    "hidden_manifold",
    "image_manifold",
    "intrinsic_christoffel",
    "intrinsic_geodesic",
    "intrinsic_ricci",
    "intrinsic_riemann",
    "intrinsic_scalar",
    "intrinsic_transport",
    "jacobian",
    "klein_bottle",
    "log_volume",
    "logarithm",
    "mean_curvature_vector",
    "metric_of",
    "metric_tensor",
    "moebius_band",
    "monomial_count",
    "nearest_coordinates",
    "normal_frame",
    "principal_curvatures",
    "quaternion_from_rotation",
    "random_frame",
    "reach_estimate",
    "ricci_tensor",
    "riemann_tensor",
    "rotation_from_quaternion",
    "scalar_curvature",
    "second_form",
    "second_fundamental_form",
    "sectional_curvature",
    "shape_operator",
    "surface_of_revolution",
    "swiss_roll",
    "tangent_frame",
    "torus_knot",
    "transport",
    "trefoil",
    "volume_estimate",
]
