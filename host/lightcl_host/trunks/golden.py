"""A few images with the features, logits and taps that every device must reproduce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import FEATURES, LOGITS, TAPS
from lightcl_edge.bundle.manifest import GoldenInfo
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.trunks.dtype_choice import FP16, INT8

if TYPE_CHECKING:
    import onnx

GOLDEN_IMAGES = 4
#: Float kernels of different processors differ by rounding only.
_FLOAT_TOLERANCE = 1e-3
#: An activation that is rounded to the other side moves by a 255th of its range, and many such steps add up through the
#: layers. A wrong or damaged trunk is off by the features themselves (a ratio near 1).
_INTEGER_TOLERANCE = 0.1
#: Half precision has 11 bits; a processor computes the same graph in float32, a GPU does not.
_HALF_TOLERANCE = 0.02


def golden_values(
    pixels: NDArray[np.uint8], features: FloatArray, head: onnx.ModelProto
) -> dict[str, NDArray[np.generic]]:
    """The golden tensors of the first images, from their features by the exported trunk."""
    features = features[:GOLDEN_IMAGES]
    computed = GraphRunner(head)({FEATURES: features}, [LOGITS, TAPS])
    return {"images": pixels[:GOLDEN_IMAGES], "features": features, **computed}


def golden_info(count: int, dtype: str) -> GoldenInfo:
    """The difference that a device may find, for a trunk of that type."""
    tolerance = {INT8: _INTEGER_TOLERANCE, FP16: _HALF_TOLERANCE}.get(dtype, _FLOAT_TOLERANCE)
    return GoldenInfo(count, tolerance, tolerance)
