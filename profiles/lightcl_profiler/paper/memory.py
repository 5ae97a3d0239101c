"""Memory as the paper calculates it (Wang et al., ASP-DAC 2025, Table 1), for the network that is profiled.

W: bytes of all parameters in float32. A: bytes of one image's convolution outputs, those of shortcuts (1 x 1 with a
stride) left out. The formulas were found from the published figures, which they meet to 0.3 MiB on CIFAR-10:
SGD ``2W + bA``, EWC ``3W + bA``, PNN ``(tasks + 1) W + bA``, ER and FDR ``2W + (b + r) A``, DER++ ``2W + (b + 2r) A``,
SparCL the same without the share of zero convolution weights and their gradients, LightCL
``W + W_head + (b + r)(A_head + largest frozen activation) + r ratio A_head``, with batch b and buffer r, and its sparse
row that without nine tenths of the convolutions in both W.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lightcl_edge.files.onnx_graph import Node
from lightcl_profiler.baselines.lightcl_sparse import SHARES as MASKED_SHARES
from lightcl_profiler.networks.graph_network import WEIGHTED, GraphNetwork, output_shapes

_FLOAT_BYTES = 4
_SPARSITY = 0.75
#: The sparsity the paper counts its sparse LightCL at.
_LIGHTCL_SPARSITY = 0.9
_PATTERN_RATIO = 0.15


@dataclass(frozen=True)
class NetworkCount:
    """What the formulas need of a network: bytes, and multiply-adds of one image's forward pass.

    Attributes:
        parameters: W.
        head_parameters: of it after the cut.
        convolutions: of it in convolutions.
        activations: A.
        head_activations: of it after the cut.
        largest_frozen: the largest convolution output before the cut.
        multiply_adds: of convolutions and matrix products; all else is small beside them.
        head_multiply_adds: of them after the cut.
        kept_multiply_adds: of ``multiply_adds``, with the channels that ``baselines/lightcl_sparse.py`` keeps.
        kept_head_multiply_adds: of them after the cut.
        head_convolutions: bytes of ``head_parameters`` in convolutions.
    """

    parameters: int
    head_parameters: int
    convolutions: int
    activations: int
    head_activations: int
    largest_frozen: int
    multiply_adds: int = 0
    head_multiply_adds: int = 0
    kept_multiply_adds: int = 0
    kept_head_multiply_adds: int = 0
    head_convolutions: int = 0


def count_network(network: GraphNetwork, image: torch.Tensor) -> NetworkCount:
    """Count a network's parameters and activations.

    Args:
        network: with a known cut.
        image: one of the size it is used with, shape ``(1, 3, h, w)``.

    Returns:
        The counts.
    """
    shapes = output_shapes(network, image)
    sizes = {name: _FLOAT_BYTES * tensor.numel() for name, tensor in network.body.named_tensors().items()}
    after = {id(node) for node in network.nodes_after_cut()}
    outputs: dict[bool, list[int]] = {True: [0], False: [0]}
    parameters = {True: 0, False: 0}
    products, kept, convolutions = ({True: 0, False: 0} for _ in range(3))
    sides = _sides(network, shapes)
    for node in network.body.graph.nodes:
        inside = id(node) in after
        own = sum(sizes.get(name, 0) for name in node.inputs)
        parameters[inside] += own
        if node.operator in WEIGHTED:
            work = _multiply_adds(node, shapes, network)
            products[inside] += work
            kept[inside] += round(work * (1 - _masked_share(node, shapes, sides)))
        if node.operator == "Conv":
            convolutions[inside] += sizes.get(node.inputs[1], 0)
            if not _is_shortcut(node):
                outputs[inside].append(_FLOAT_BYTES * math.prod(shapes[node.outputs[0]][1:]))
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


def _sides(network: GraphNetwork, shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    """Spatial sizes at which the network's convolutions work, ascending."""
    return sorted({shapes[node.outputs[0]][2] for node in network.body.graph.nodes if node.operator == "Conv"})


def _masked_share(node: Node, shapes: Mapping[str, tuple[int, ...]], sides: Sequence[int]) -> float:
    """Of a layer's channels under sparse LightCL: those of convolutions, by their spatial size."""
    if node.operator != "Conv":
        return 0.0
    return MASKED_SHARES[min(sides.index(shapes[node.outputs[0]][2]), len(MASKED_SHARES) - 1)]


def _multiply_adds(node: Node, shapes: Mapping[str, tuple[int, ...]], network: GraphNetwork) -> int:
    """Of one image: each output value of a layer with weights sums over one filter, or over one row of inputs."""
    weight = network.body.named_tensors().get(node.inputs[1])
    if weight is None:
        return 0
    outputs = math.prod(shapes[node.outputs[0]][1:])
    if node.operator == "Conv":
        return outputs * math.prod(weight.shape[1:])
    by_columns = node.operator == "Gemm" and node.integer("transB", 0)
    return outputs * int(weight.shape[1] if by_columns else weight.shape[-2])


def _is_shortcut(node: Node) -> bool:
    kernel = node.integers("kernel_shape", [])
    return node.operator in WEIGHTED and kernel == [1, 1] and max(node.integers("strides", [1, 1])) > 1


def calculated_bytes(method: str, count: NetworkCount, batch: int, buffer: int, tasks: int) -> int | None:
    """What the paper's formula gives.

    Args:
        method: a baseline's name, or a strategy of the device as ``device:NAME``: LightCL as the paper counts it, the
            others likewise from what they hold.
        count: of the network.
        batch: images a step.
        buffer: remembered images a step.
        tasks: how many.

    Returns:
        Bytes; None where there is no formula.
    """
    w, a = count.parameters, count.activations
    sparse = round(2 * _SPARSITY * count.convolutions)
    held = round(buffer * _PATTERN_RATIO * count.head_activations)
    light = w + count.head_parameters + (batch + buffer) * (count.head_activations + count.largest_frozen) + held
    zeros = round(_LIGHTCL_SPARSITY * (count.convolutions + count.head_convolutions))
    head_trained = w + count.head_parameters + batch * (count.head_activations + count.largest_frozen)
    forward = w + batch * count.largest_frozen
    found: Mapping[str, int] = {
        "joint": 2 * w + batch * a,
        "sgd": 2 * w + batch * a,
        "ewc": 3 * w + batch * a,
        "pnn": (tasks + 1) * w + batch * a,
        "fdr": 2 * w + (batch + buffer) * a,
        "er": 2 * w + (batch + buffer) * a,
        "derpp": 2 * w + (batch + 2 * buffer) * a,
        "sparcl_er": 2 * w - sparse + (batch + buffer) * a,
        "sparcl_derpp": 2 * w - sparse + (batch + 2 * buffer) * a,
        "lightcl_torch": light,
        "lightcl_sparse": light - zeros,
        "device:lightcl": light,
        "device:replay": head_trained,
        "device:finetune": head_trained,
        "device:slda": forward,
        "device:ncm": forward,
    }
    return found.get(method)
