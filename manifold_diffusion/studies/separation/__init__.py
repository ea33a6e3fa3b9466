"""Group S: geometry before density. Each claim is a manifold, sizes, an instrument, what is expected and a
tolerance.
"""

from manifold_diffusion.studies.separation.coverage import S4, S5
from manifold_diffusion.studies.separation.law import S9
from manifold_diffusion.studies.separation.novelty import S6
from manifold_diffusion.studies.separation.score import S10
from manifold_diffusion.studies.separation.support import S1, S2, S3, S8, S11
from manifold_diffusion.studies.separation.transport import S7

CLAIMS = (S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11)

__all__ = ["CLAIMS", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11"]
