"""The trained tensors of a head: each layer gets a bias, and each tensor is named after its module."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_host.graphs.graph import integer_attribute, rename_tensors, to_array, to_tensor
from lightcl_host.graphs.module_paths import module_path
from lightcl_host.graphs.operators import NORMALIZING_OPERATORS, WEIGHTED_OPERATORS

if TYPE_CHECKING:
    import onnx

_FLOAT = 1  # onnx.TensorProto.FLOAT


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
    """Name all trained tensors ``MODULE.weight`` and ``MODULE.bias``, in place; returns the shape of each.

    Exporters store equal tensors once, such as the scales of all layers that were never trained. Each operator gets
    its own.
    """
    graph = head.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    names: dict[str, str] = {}
    for index, node in enumerate(graph.node):
        for role, position in _trained_inputs(node, weights):
            tensor = node.input[position]
            if readers[tensor] > 1:
                readers[tensor] -= 1
                tensor = f"{tensor}.own_{index}_{position}"
                graph.initializer.add().CopyFrom(weights[node.input[position]])
                graph.initializer[-1].name = node.input[position] = tensor
            names[tensor] = tensor if tensor in (WEIGHT, BIAS) else _fresh(node, index, role, names)
    rename_tensors(graph, names)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return {name: shapes[name] for name in names.values()}


def _trained_inputs(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> list[tuple[str, int]]:
    """(role, input) of what the node trains: weights, and vectors that scale or shift channels."""
    constant = [position for position, name in enumerate(node.input) if name in weights]
    if node.op_type in NORMALIZING_OPERATORS and _does_nothing(node, weights):
        return []
    if node.op_type in WEIGHTED_OPERATORS | NORMALIZING_OPERATORS:
        return list(zip(("weight", "bias"), constant, strict=False))
    role = {"Add": "bias", "Mul": "weight", "PRelu": "weight"}.get(node.op_type)
    vectors = [position for position in constant if _is_vector(weights[node.input[position]])]
    return [(role, position) for position in vectors[:1]] if role and len(constant) == 1 else []


def _is_vector(tensor: onnx.TensorProto) -> bool:
    """One value for each channel. Masks, tables of positions and single numbers stay as they are."""
    return tensor.data_type == _FLOAT and sum(side > 1 for side in tensor.dims) == 1


def _does_nothing(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """An instance normalisation with scale 1 and bias 0: exporters put it before the scale of a group normalisation."""
    if node.op_type != "InstanceNormalization" or any(name not in weights for name in node.input[1:3]):
        return False
    scale, bias = (to_array(weights[name]) for name in node.input[1:3])
    return bool((scale == 1).all() and (bias == 0).all())


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
