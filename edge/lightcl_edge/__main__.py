"""``python -m lightcl_edge`` is ``lightcl-edge``."""

import sys

from lightcl_edge.cli import main

sys.exit(main())
