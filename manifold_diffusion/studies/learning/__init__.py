"""Group M: what trained networks learn first, what they learn last, and score models that cannot memorise."""

from manifold_diffusion.studies.claim import Claim
from manifold_diffusion.studies.learning.capacity import M2
from manifold_diffusion.studies.learning.coarse_models import M11
from manifold_diffusion.studies.learning.error_curves import M10
from manifold_diffusion.studies.learning.normal_only import M12
from manifold_diffusion.studies.learning.training_times import M9

CLAIMS: tuple[Claim, ...] = (M2, M9, M10, M11, M12)
