"""Memory as the paper calculates it (Wang et al., ASP-DAC 2025, Table 1), for the network that is profiled.

W: bytes of all parameters in float32. A: bytes of one image's convolution outputs, those of shortcuts (1 x 1 with a
stride) left out. The formulas were found from the published figures, which they meet to 0.3 MiB on CIFAR-10:
SGD ``2W + bA``, EWC ``3W + bA``, PNN ``(tasks + 1) W + bA``, ER and FDR ``2W + (b + r) A``, DER++ ``2W + (b + 2r) A``,
SparCL the same without the share of zero convolution weights and their gradients, LightCL
``W + W_head + (b + r)(A_head + largest frozen activation) + r ratio A_head``, with batch b and buffer r.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lightcl_edge.onnx_reader import Node
from lightcl_profiler.graph_network import WEIGHTED, GraphNetwork, output_shapes

_FLOAT_BYTES = 4
_SPARSITY = 0.75
_PATTERN_RATIO = 0.15


@dataclass(frozen=True)
class NetworkCount:
    """What the formulas need of a network, in bytes.

    Attributes:
        parameters: W.
        head_parameters: of it after the cut.
        convolutions: of it in convolutions.
        activations: A.
        head_activations: of it after the cut.
        largest_frozen: the largest convolution output before the cut.
    """

    parameters: int
    head_parameters: int
    convolutions: int
    activations: int
    head_activations: int
    largest_frozen: int


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
    convolutions = 0
    for node in network.body.graph.nodes:
        inside = id(node) in after
        own = sum(sizes.get(name, 0) for name in node.inputs)
        parameters[inside] += own
        if node.operator == "Conv":
            convolutions += sizes.get(node.inputs[1], 0)
            if not _is_shortcut(node):
                outputs[inside].append(_FLOAT_BYTES * math.prod(shapes[node.outputs[0]][1:]))
    return NetworkCount(
        parameters=sum(parameters.values()),
        head_parameters=parameters[True],
        convolutions=convolutions,
        activations=sum(outputs[True]) + sum(outputs[False]),
        head_activations=sum(outputs[True]),
        largest_frozen=max(outputs[False]),
    )


def _is_shortcut(node: Node) -> bool:
    kernel = node.integers("kernel_shape", [])
    return node.operator in WEIGHTED and kernel == [1, 1] and max(node.integers("strides", [1, 1])) > 1


def calculated_bytes(method: str, count: NetworkCount, batch: int, buffer: int, tasks: int) -> int | None:
    """What the paper's formula gives.

    Args:
        method: a baseline's name.
        count: of the network.
        batch: images a step.
        buffer: remembered images a step.
        tasks: how many.

    Returns:
        Bytes; None where the formula is not known (masked LightCL).
    """
    w, a = count.parameters, count.activations
    sparse = round(2 * _SPARSITY * count.convolutions)
    held = round(buffer * _PATTERN_RATIO * count.head_activations)
    light = (batch + buffer) * (count.head_activations + count.largest_frozen)
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
        "lightcl_torch": w + count.head_parameters + light + held,
    }
    return found.get(method)
