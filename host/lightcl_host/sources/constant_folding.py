"""Compute what depends on no image, and leave every layer as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with fewer nodes; unlike the library's whole optimiser, this keeps batch normalisation."""
    import onnx
    from onnxscript import ir, optimizer

    known = onnx.shape_inference.infer_shapes(model, data_prop=True)  # types and shapes of activations fold too
    graph = ir.serde.deserialize_model(known)
    optimizer.fold_constants(graph)
    optimizer.remove_unused_nodes(graph)
    folded: onnx.ModelProto = ir.serde.serialize_model(graph)
    return folded
