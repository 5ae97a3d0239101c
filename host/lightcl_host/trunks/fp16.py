"""The trunk with half-precision weights and activations, for boards whose GPU computes in it.

onnxruntime has hardly any half-precision kernels for CPUs. There it puts conversions around the operators and computes
in float32. So such a trunk runs everywhere, but on a CPU only its file is smaller: it is as slow as a float32 trunk and
needs as much memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_edge.errors import BundleError
from lightcl_host.graphs.graph import replace_all
from lightcl_host.graphs.shapes import infer_shapes

if TYPE_CHECKING:
    import onnx


def halve_trunk(trunk: onnx.ModelProto) -> onnx.ModelProto:
    """A shape-inferred copy, converted by onnxruntime's own tool; input and output stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(trunk)
    model: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    _sort(model.graph)
    return infer_shapes(model)


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes after what they read, because the tool appends its conversions at the end."""
    known = {info.name for info in [*graph.input, *graph.initializer]} | {""}
    waiting, ordered = list(graph.node), []
    while waiting:
        late = []
        for node in waiting:
            if known.issuperset(node.input):
                known.update(node.output)
                ordered.append(node)
            else:
                late.append(node)
        if len(late) == len(waiting):
            raise BundleError("the half-precision trunk's nodes can't be ordered; use --trunk-dtype fp32")
        waiting = late
    replace_all(graph.node, ordered)
