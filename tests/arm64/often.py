"""``lightcl-edge`` with a checkpoint every second, so that a training of a few seconds can be killed after one.

``python often.py train ...``. The run that goes on afterwards is the plain program.
"""

from __future__ import annotations

import sys

from lightcl_edge.cli import main
from lightcl_edge.learning import checkpoint

checkpoint.SECONDS_BETWEEN_CHECKPOINTS, checkpoint.SHARE_AT_RISK = 1.0, 0.0
sys.exit(main(sys.argv[1:]))
