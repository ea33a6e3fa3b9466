"""How good a sample is: faithful, new, covering; and what the manifold of a sample looks like."""

from manifold_diffusion.evaluation.audit import Audit, Faithfulness, GeneratedAudit, audit, decide
from manifold_diffusion.evaluation.coverage import (
    Coverage,
    ball_mass_ratios,
    ball_masses,
    coverage,
    coverage_scale,
)
from manifold_diffusion.evaluation.cross_fit import CrossFit, choose_degree, held_out_distances
from manifold_diffusion.evaluation.density import chi_square, squared_hellinger, total_variation
from manifold_diffusion.evaluation.dimension import (
    Dimension,
    consensus,
    dimensions,
    headline,
    levina_bickel,
    local_pca,
    two_nearest,
)
from manifold_diffusion.evaluation.novelty import (
    Authenticity,
    Novelty,
    authentic_pct,
    authenticity,
    expected_authentic_share,
    novelty,
)
from manifold_diffusion.evaluation.sample import Distinct, Interval, distinct, finite_rows, median, proportion, quotient
from manifold_diffusion.evaluation.shape import Noise, collapse_scale, entropy, noise_level, reach, spacing
from manifold_diffusion.evaluation.support import (
    Hausdorff,
    SupportDistance,
    distances_to,
    hausdorff,
    support_distance,
)
from manifold_diffusion.evaluation.transport import (
    TransportBound,
    circular_wasserstein,
    empirical_transport_bound,
    expected_transport_bound,
    uniform_circular_wasserstein,
    unit_ball_volume,
    wasserstein,
)

__all__ = [
    "Audit",
    "Authenticity",
    "Coverage",
    "CrossFit",
    "Dimension",
    "Distinct",
    "Faithfulness",
    "GeneratedAudit",
    "Hausdorff",
    "Interval",
    "Noise",
    "Novelty",
    "SupportDistance",
    "TransportBound",
    "audit",
    "authentic_pct",
    "authenticity",
    "ball_mass_ratios",
    "ball_masses",
    "chi_square",
    "choose_degree",
    "circular_wasserstein",
    "collapse_scale",
    "consensus",
    "coverage",
    "coverage_scale",
    "decide",
    "dimensions",
    "distances_to",
    "distinct",
    "empirical_transport_bound",
    "entropy",
    "expected_authentic_share",
    "expected_transport_bound",
    "finite_rows",
    "hausdorff",
    "headline",
    "held_out_distances",
    "levina_bickel",
    "local_pca",
    "median",
    "noise_level",
    "novelty",
    "proportion",
    "quotient",
    "reach",
    "spacing",
    "squared_hellinger",
    "support_distance",
    "total_variation",
    "two_nearest",
    "uniform_circular_wasserstein",
    "unit_ball_volume",
    "wasserstein",
]
