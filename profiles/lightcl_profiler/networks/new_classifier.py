"""A network from an ONNX graph, run in torch, with a classifier of its own size."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.torch_graph import Graph, read_graph
from lightcl_edge.learning.engines.torch_node import Node
from lightcl_profiler.networks.graph_network import WEIGHTED, GraphNetwork, find_cut


def network_from_graph(path: Path, classes: int, head_layers: int = 0) -> GraphNetwork:
    """The network of an ONNX file, its last layer of weights replaced by a new one of ``classes`` rows.

    ``head_layers`` are the layers with weights after the cut; 0 when the cut does not matter. Raises a BundleError when
    the graph has no layer with weights, or holds an operator that torch can't run here.
    """
    graph = read_graph(path)
    weighted = [
        at for at, node in enumerate(graph.nodes) if node.operator in WEIGHTED and node.inputs[1] in graph.initializers
    ]
    if not weighted:
        raise BundleError(f"{path.name} has no layer with weights, expected a classifier as its last one")
    last = weighted[-1]
    old = _replace_weights(graph, graph.nodes[last], classes)
    for node in graph.nodes[last:]:
        for name in node.inputs:
            if name in graph.initializers and graph.initializers[name].shape == (old,):
                graph.initializers[name] = np.zeros(classes, np.float32)
    return GraphNetwork(graph, find_cut(graph, head_layers) if head_layers else None)


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
