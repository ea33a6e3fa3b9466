"""`python -m manifold_diffusion` is the command `manifold-diffusion`."""

import sys

from manifold_diffusion.cli import main

sys.exit(main())
