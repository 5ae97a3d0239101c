"""What a graph costs, counted from its nodes: parameters, live activations, multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.manifest import CostInfo
from lightcl_host.graphs.graph import GraphView, integer_attribute
from lightcl_host.graphs.operators import VIEW_OPERATORS

if TYPE_CHECKING:
    import onnx

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
#: onnxruntime runs these on bytes where all neighbours quantise or dequantise.
_INTEGER_OPERATORS = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "Conv",
        "Gemm",
        "GlobalAveragePool",
        "MatMul",
        "MaxPool",
        "Mul",
        "Reshape",
        "Sigmoid",
    }
)

#: onnxruntime holds more of a network of tokens than what is alive by its nodes' order: from 2 (ConvNeXt, LeViT,
#: EdgeNeXt) to 3.9 times (ViT), each further image of a batch; of a network of convolutions 1.1 to 1.3 times.
_TOKENS_FACTOR = 3.4
_OF_TOKENS = frozenset({"LayerNormalization", "Softmax"})


def count_cost(
    trunk: onnx.ModelProto, exported_trunk: onnx.ModelProto, head: onnx.ModelProto, patterns: Sequence[str]
) -> CostInfo:
    """Bytes and multiply-adds from which a device predicts its memory.

    Args:
        trunk: float32, shape-inferred; the exported trunk has the same multiply-adds.
        exported_trunk: the trunk in the bundle, shape-inferred.
        head: shape-inferred.
    """
    head_view = GraphView(head)
    sizes = [
        4 * head_view.elements(name)
        for node in head_view.graph.node
        if node.op_type not in VIEW_OPERATORS
        for name in node.output
        if name in head_view.dims
    ]
    return CostInfo(
        trunk_parameter_bytes=parameter_bytes(exported_trunk),
        trunk_peak_activation_bytes=peak_activation_bytes(exported_trunk),
        trunk_multiply_adds=multiply_adds(trunk),
        head_parameter_bytes=parameter_bytes(head),
        head_activation_bytes=sum(sizes),
        head_largest_activation_bytes=max(sizes),
        head_multiply_adds=multiply_adds(head),
        head_pattern_bytes=sum(4 * head_view.elements(name) for name in patterns),
    )


def parameter_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all initialisers."""
    import onnx

    return sum(
        int(np.prod(list(tensor.dims), dtype=np.int64))
        * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in model.graph.initializer
    )


def multiply_adds(model: onnx.ModelProto) -> int:
    """Multiply-adds of convolutions and matrix products for one sample; the rest is small beside them."""
    view = GraphView(model)
    return sum(_node_multiply_adds(view, node) for node in view.graph.node)


def _node_multiply_adds(view: GraphView, node: onnx.NodeProto) -> int:
    if not node.output or node.output[0] not in view.dims:
        return 0
    outputs = view.elements(node.output[0])
    if node.op_type == "Conv":
        kernel = view.weights.get(node.input[1])
        return 0 if kernel is None else outputs * int(np.prod(list(kernel.dims)[1:], dtype=np.int64))
    if node.op_type == "Gemm":
        dims = view.weights[node.input[1]].dims if node.input[1] in view.weights else view.dims[node.input[1]]
        return outputs * int(dims[1] if integer_attribute(node, "transB", 0) else dims[0])
    if node.op_type == "MatMul" and node.input[0] in view.dims:
        return outputs * view.dims[node.input[0]][-1]
    return 0


def peak_activation_bytes(model: onnx.ModelProto) -> int:
    """Most bytes of activations alive at one time, for one sample, when the nodes run in their order.

    Of a network of tokens it is what onnxruntime holds, beside what it holds of convolutions.

    In a quantised graph a value between quantise and dequantise is one byte. The float tensors around it exist only
    inside onnxruntime's integer kernels. The working memory of single kernels is not counted.
    """
    view = GraphView(model)
    sizes = {name: _stored_bytes(view, name) for name in view.activations if name in view.dims}
    last_use = {name: uses[-1] for name, uses in view.consumers.items()}
    live: set[str] = {view.graph.input[0].name}
    peak = 0
    for index, node in enumerate(view.graph.node):
        live.update(name for name in node.output if name in sizes)
        peak = max(peak, sum(sizes[name] for name in live))
        outputs = {info.name for info in view.graph.output}
        live = {name for name in live if last_use.get(name, -1) > index or name in outputs}
    return int(_TOKENS_FACTOR * peak) if has_tokens(model) else peak


def has_tokens(model: onnx.ModelProto) -> bool:
    """Whether it is a transformer or a ConvNeXt, whose activations stay float32 also where weights are 8-bit."""
    return any(node.op_type in _OF_TOKENS for node in model.graph.node)


def _stored_bytes(view: GraphView, tensor: str) -> int:
    """Bytes of an activation; 0 for one that is never written to memory."""
    maker = view.source(tensor)
    users = [view.graph.node[index] for index in view.consumers.get(tensor, [])]
    if maker is not None and maker.op_type == _QUANTIZE:
        return view.elements(tensor)
    if maker is not None and maker.op_type == _DEQUANTIZE and users:
        fused = all(user.op_type in _INTEGER_OPERATORS for user in users)
        return 0 if fused else 4 * view.elements(tensor)
    if maker is not None and users and maker.op_type in _INTEGER_OPERATORS:
        quantised = all(user.op_type == _QUANTIZE for user in users)
        return 0 if quantised else 4 * view.elements(tensor)
    if maker is not None and maker.op_type in VIEW_OPERATORS:
        return 0
    return 4 * view.elements(tensor)
