"""Continual learning on the device: a frozen trunk in ONNX Runtime and a light head that keeps learning.

``from lightcl_edge import Learner`` is the whole programming interface (``docs/api.md``). It is loaded when it is first
asked for: importing this package alone costs nothing.

Importing it also switches off onnxruntime's reports: its Linux builds (1.32 is one) send events about every session to
their maker, and keep a number for the device in the user's cache, unless told not to before they are loaded. Whoever
wants them sets ``ORT_DISABLE_TELEMETRY=0``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # what type checkers take for true; the module typing costs more to import than all else here
if TYPE_CHECKING:
    from lightcl_edge.learner import Learned, Learner, Prediction

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Learned", "Learner", "Prediction", "__version__"]


def __getattr__(name: str) -> object:
    """Load the programming interface on first use."""
    if name in ("Learner", "Learned", "Prediction"):
        from lightcl_edge import learner

        return getattr(learner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
