"""Continual learning on the device: a frozen trunk in ONNX Runtime and a light head that keeps learning.

``from lightcl_edge import Learner`` is the whole programming interface (``docs/api.md``). It is loaded when it is first
asked for: importing this package alone costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true; the module typing costs more to import than all else here
if TYPE_CHECKING:
    from lightcl_edge.learner import Learned, Learner, Prediction

__version__ = "0.1.0"
__all__ = ["Learned", "Learner", "Prediction", "__version__"]


def __getattr__(name: str) -> object:
    """Load the programming interface on first use."""
    if name in ("Learner", "Learned", "Prediction"):
        from lightcl_edge import learner

        return getattr(learner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
