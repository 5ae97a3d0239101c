"""The trained tensors of a head: each layer gets a bias, and each tensor is named after its module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_host.graphs.graph import integer_attribute, rename_tensors, to_tensor
from lightcl_host.graphs.module_paths import module_path
from lightcl_host.graphs.operators import WEIGHTED_OPERATORS

if TYPE_CHECKING:
    import onnx


def complete_biases(head: onnx.ModelProto) -> None:
    """Give every convolution and linear layer a bias of its own.

    Exporters drop a bias that is zero, as those of untrained networks are. The device trains it all the same.
    """
    graph = head.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        if node.op_type not in ("Conv", "Gemm") or (len(node.input) > 2 and node.input[2]):
            continue
        dims = weights[node.input[1]].dims
        transposed = node.op_type == "Gemm" and not integer_attribute(node, "transB", 0)
        rows = dims[1] if transposed else dims[0]
        name = f"added_bias_{index}"
        graph.initializer.append(to_tensor(np.zeros(rows, np.float32), name))
        del node.input[2:]
        node.input.append(name)


def name_parameters(head: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Name all trained tensors ``MODULE.weight`` and ``MODULE.bias``, in place; returns the shape of each."""
    graph = head.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names: dict[str, str] = {}
    for index, node in enumerate(graph.node):
        for role, tensor in _trained_inputs(node, weights, graph):
            if tensor not in names:
                names[tensor] = tensor if tensor in (WEIGHT, BIAS) else _fresh(node, index, role, names)
    rename_tensors(graph, names)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return {name: shapes[name] for name in names.values()}


def _trained_inputs(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], graph: onnx.GraphProto
) -> list[tuple[str, str]]:
    """(role, tensor) of the node's trained inputs."""
    if node.op_type in WEIGHTED_OPERATORS:
        constant = [name for name in node.input if name in weights]
        return list(zip(("weight", "bias"), constant, strict=False))
    if node.op_type == "Add":
        products = {other.output[0] for other in graph.node if other.op_type == "MatMul"}
        constant = [name for name in node.input if name in weights]
        if constant and any(name in products for name in node.input):
            return [("bias", constant[0])]
    return []


def _fresh(node: onnx.NodeProto, index: int, role: str, names: dict[str, str]) -> str:
    """A unique name, made from the weight's own name or else from the node's module."""
    own = next((name for name in node.input[1:2] if name.endswith(".weight") and "::" not in name), "")
    base = own.removesuffix(".weight") or module_path(node) or f"layer_{index}"
    taken = {*names.values(), WEIGHT, BIAS}
    name, count = f"{base}.{role}", 1
    while name in taken:
        count += 1
        name = f"{base}.{count}.{role}"
    return name
