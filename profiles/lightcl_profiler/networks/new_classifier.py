"""A network with a classifier of its own size: of a torch module, or of an ONNX graph run in torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.torch_graph import Graph, read_graph
from lightcl_edge.learning.engines.torch_rules import Node
from lightcl_profiler.networks.graph_network import WEIGHTED, GraphNetwork, find_cut


def network_from_graph(path: Path, classes: int, head_layers: int = 0) -> GraphNetwork:
    """The network of an ONNX file, its last layer of weights replaced by a new one of ``classes`` rows.

    ``head_layers`` are the layers with weights after the cut; 0 when the cut does not matter.

    Raises:
        BundleError: when the graph has no layer with weights, or holds an operator torch can't run here.
    """
    graph = graph_with_classifier(path, classes)
    return GraphNetwork(graph, find_cut(graph, head_layers) if head_layers else None)


def graph_with_classifier(path: Path, classes: int) -> Graph:
    """The graph of an ONNX file with a new last layer.

    Raises:
        BundleError: when it has no layer with weights.
    """
    graph = read_graph(path)
    last = _last_layer(graph)
    if last is None:
        raise BundleError(f"{path.name} has no layer with weights, expected a classifier as its last one")
    node, after = last
    old = _replace_weights(graph, node, classes)
    for later in [node, *after]:
        for name in later.inputs:
            if name in graph.initializers and graph.initializers[name].shape == (old,):
                graph.initializers[name] = np.zeros(classes, np.float32)
    return graph


def count_batch_norms(network: GraphNetwork) -> int:
    """How many layers of the network normalise by batch."""
    return sum(node.operator == "BatchNormalization" for node in network.body.graph.nodes)


def _last_layer(graph: Graph) -> tuple[Node, list[Node]] | None:
    """The last node with weights of its own and the nodes after it."""
    for at in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[at]
        if node.operator in WEIGHTED and node.inputs[1] in graph.initializers:
            return node, graph.nodes[at + 1 :]
    return None


def _replace_weights(graph: Graph, node: Node, classes: int) -> int:
    """New random weights for ``classes`` rows; returns how many rows there were."""
    name = node.inputs[1]
    shape = list(graph.initializers[name].shape)
    rows_axis = 0 if node.operator == "Conv" or node.attributes.get("transB", 0) else 1
    old = int(shape[rows_axis])
    shape[rows_axis] = classes
    graph.initializers[name] = _uniform(shape, int(np.prod(shape)) // classes)
    return old


def _uniform(shape: list[int], inputs: int) -> NDArray[np.float32]:
    """Weights as torch draws those of a new linear layer: uniform within 1 / sqrt(inputs)."""
    weights: Any = torch.empty(shape).uniform_(-(inputs**-0.5), inputs**-0.5).numpy()
    return np.asarray(weights, np.float32)


def replace_classifier(module: torch.nn.Module, classes: int) -> None:
    """Put a new linear layer in the place of the network's last one.

    Args:
        module: changed in place.

    Raises:
        BundleError: when the network has no linear layer.
    """
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear)]
    if not layers:
        raise BundleError("the whole network has no linear layer, expected a classifier as its last layer")
    name, last = layers[-1]
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, torch.nn.Linear(last.in_features, classes))
