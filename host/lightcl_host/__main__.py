"""``python -m lightcl_host`` is ``lightcl-host``."""

import sys

from lightcl_host.cli import main

sys.exit(main())
