"""Continual learning on the device: a frozen trunk in ONNX Runtime and a light head that keeps learning.

``from lightcl_edge import Learner`` is the whole programming interface (``docs/builders/api.md``). It is loaded at
first use: importing this package alone costs nothing.

The import also switches off onnxruntime's reports. Its Linux builds (1.32 is one) send events about every session to
their maker and keep a number for the device in the user's cache. Set ``ORT_DISABLE_TELEMETRY=0`` to allow that.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # type checkers take it for true; importing typing would cost more than all else here
if TYPE_CHECKING:
    from lightcl_edge.learner import (
        Evaluation,
        Forgotten,
        History,
        Learned,
        Learner,
        Prediction,
        RolledBack,
        Status,
        Step,
    )

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "Evaluation",
    "Forgotten",
    "History",
    "Learned",
    "Learner",
    "Prediction",
    "RolledBack",
    "Status",
    "Step",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Load the programming interface on first use."""
    if name in __all__:
        from lightcl_edge import learner

        return getattr(learner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
