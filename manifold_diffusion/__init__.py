"""manifold_diffusion: what has a diffusion model learned, the shape of the data or the data themselves?

Points live on a manifold, a measure distributes them, a process noises them, a score points back, a sampler follows
the score, an estimator turns data into a sampler, an evaluation says how good it is, and a study says how fast it gets
better with more data. Each of these words is a namespace of this package.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manifold_diffusion import (
        estimators,
        evaluation,
        geometry,
        measures,
        processes,
        samplers,
        scores,
        studies,
        testing,
        training,
    )

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "estimators",
    "evaluation",
    "geometry",
    "measures",
    "processes",
    "samplers",
    "scores",
    "studies",
    "testing",
    "training",
]


def __getattr__(name: str):
    # Namespaces are imported when they are first named, so that the command line answers --help at once.
    if name in __all__:
        return importlib.import_module(f"manifold_diffusion.{name}")
    raise AttributeError(f"module 'manifold_diffusion' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
