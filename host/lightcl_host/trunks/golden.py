"""A few images with the features and logits that every device must reproduce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE, LOGITS
from lightcl_edge.bundle.manifest import GoldenInfo
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.trunks.calibration import Calibration
from lightcl_host.trunks.choice import FP16, INT8

if TYPE_CHECKING:
    import onnx

GOLDEN_IMAGES = 4
#: Float kernels of different processors differ by rounding only.
_FLOAT_TOLERANCE = 1e-3
#: One activation rounded to the other side moves by a 255th of its range, and many such steps add up through the
#: layers; a wrong or damaged trunk is off by the features themselves (a ratio near 1).
_INTEGER_TOLERANCE = 0.1
#: Half precision has 11 bits; a processor computes the same graph in float32, a GPU does not.
_HALF_TOLERANCE = 0.02


def golden_values(
    trunk: onnx.ModelProto, head: onnx.ModelProto, calibration: Calibration
) -> dict[str, NDArray[np.generic]]:
    """Run the exported graphs on the first images.

    Args:
        trunk: as it goes into the bundle.
        head: likewise.
        calibration: where the images are taken from.

    Returns:
        ``images`` (uint8), ``features`` and ``logits`` (float32).
    """
    features = GraphRunner(trunk)({IMAGE: calibration.images[:GOLDEN_IMAGES]}, [FEATURES])[FEATURES]
    logits = GraphRunner(head)({FEATURES: features}, [LOGITS])[LOGITS]
    return {"images": calibration.pixels[:GOLDEN_IMAGES], "features": features, "logits": logits}


def golden_info(count: int, dtype: str) -> GoldenInfo:
    """The allowed drift for a trunk of that type."""
    tolerance = {INT8: _INTEGER_TOLERANCE, FP16: _HALF_TOLERANCE}.get(dtype, _FLOAT_TOLERANCE)
    return GoldenInfo(count, tolerance, tolerance)
