"""The trunk with half-precision weights and activations, for boards whose GPU computes in it.

onnxruntime has hardly any half-precision kernels for processors: there it puts conversions around the operators and
computes in float32, so such a trunk runs everywhere, but only its file is smaller; it is no faster on a CPU and needs
the memory of a float32 one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_host.onnx_graph import infer_shapes

if TYPE_CHECKING:
    import onnx


def halve_trunk(trunk: onnx.ModelProto) -> onnx.ModelProto:
    """Convert by onnxruntime's own tool; input and output stay float32.

    Args:
        trunk: float32, ``image`` -> ``features``; not changed.

    Returns:
        The converted trunk, shape-inferred.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(trunk)
    model: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return infer_shapes(model)
