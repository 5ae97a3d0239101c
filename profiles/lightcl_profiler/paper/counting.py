"""Counts a network's parameters, activations and multiply-adds from its ONNX graph."""

import math
from collections.abc import Mapping, Sequence

import torch

from lightcl_edge.learning.engines.torch_node import Node
from lightcl_profiler.baselines.lightcl_sparse import SHARES as MASKED_SHARES
from lightcl_profiler.networks.graph_network import WEIGHTED, GraphNetwork, output_shapes
from lightcl_profiler.paper.memory import NetworkCount

_FLOAT_BYTES = 4


def count_network(network: GraphNetwork, image: torch.Tensor) -> NetworkCount:
    """Count a network with a known cut, for an image ``(1, 3, h, w)`` of the size that it is used with."""
    shapes = output_shapes(network, image)
    sizes = {name: _FLOAT_BYTES * tensor.numel() for name, tensor in network.body.named_tensors().items()}
    after = {id(node) for node in network.nodes_after_cut()}
    sides = sorted({shapes[node.outputs[0]][2] for node in network.body.graph.nodes if node.operator == "Conv"})
    outputs: dict[bool, list[int]] = {True: [0], False: [0]}
    parameters, products, kept, convolutions = ({True: 0, False: 0} for _ in range(4))
    for node in network.body.graph.nodes:
        in_head = id(node) in after
        parameters[in_head] += sum(sizes.get(name, 0) for name in node.inputs)
        if node.operator in WEIGHTED:
            work = _multiply_adds(node, shapes, network)
            products[in_head] += work
            kept[in_head] += round(work * (1 - _masked_share(node, shapes, sides)))
        if node.operator == "Conv":
            convolutions[in_head] += sizes.get(node.inputs[1], 0)
            if not _is_shortcut(node):
                outputs[in_head].append(_FLOAT_BYTES * math.prod(shapes[node.outputs[0]][1:]))
    return NetworkCount(
        parameters=sum(parameters.values()),
        head_parameters=parameters[True],
        convolutions=sum(convolutions.values()),
        activations=sum(outputs[True]) + sum(outputs[False]),
        head_activations=sum(outputs[True]),
        largest_frozen=max(outputs[False]),
        multiply_adds=sum(products.values()),
        head_multiply_adds=products[True],
        kept_multiply_adds=sum(kept.values()),
        kept_head_multiply_adds=kept[True],
        head_convolutions=convolutions[True],
    )


def _masked_share(node: Node, shapes: Mapping[str, tuple[int, ...]], sides: Sequence[int]) -> float:
    """The share of a layer's channels that sparse LightCL masks: of convolutions alone, by their spatial size."""
    if node.operator != "Conv":
        return 0.0
    return MASKED_SHARES[min(sides.index(shapes[node.outputs[0]][2]), len(MASKED_SHARES) - 1)]


def _multiply_adds(node: Node, shapes: Mapping[str, tuple[int, ...]], network: GraphNetwork) -> int:
    """Each output value of a layer with weights is a sum over one filter, or over one row of inputs."""
    weight = network.body.named_tensors().get(node.inputs[1])
    if weight is None:
        return 0
    outputs = math.prod(shapes[node.outputs[0]][1:])
    if node.operator == "Conv":
        return outputs * math.prod(weight.shape[1:])
    by_columns = node.operator == "Gemm" and node.attributes.get("transB", 0)
    return outputs * int(weight.shape[1] if by_columns else weight.shape[-2])


def _is_shortcut(node: Node) -> bool:
    kernel = node.attributes.get("kernel_shape")
    return node.operator in WEIGHTED and kernel == [1, 1] and max(node.attributes.get("strides", [1, 1])) > 1
