"""Networks small enough to follow by hand, and tasks for the tests of the baselines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lightcl_edge.learning.engines.torch_graph import Graph
from lightcl_edge.learning.engines.torch_node import Node
from lightcl_profiler.baselines.contract import Batch, Task
from lightcl_profiler.baselines.learning import Images
from lightcl_profiler.networks.graph_network import GraphNetwork, find_cut

SIDE, CLASSES = 8, 4
#: More threads only wait for each other on tensors this small.
torch.set_num_threads(1)


def linear_network(weight: np.ndarray | None = None) -> Callable[[], torch.nn.Module]:
    """``images (n, 2, 1, 1) -> x W^T + b``, W and b zero unless given."""

    def build() -> torch.nn.Module:
        layer = torch.nn.Linear(2, 2)
        with torch.no_grad():
            layer.weight.copy_(torch.zeros(2, 2) if weight is None else torch.from_numpy(weight).float())
            layer.bias.zero_()
        return torch.nn.Sequential(torch.nn.Flatten(), layer)

    return build


def one_batch(x: list[list[float]], labels: list[int]) -> Batch:
    return Batch(torch.tensor(x)[:, :, None, None], torch.tensor(labels), np.arange(len(labels)))


def task_of(batch: Batch, number: int = 0) -> Task:
    """A task whose images are those of a batch."""

    def batches(size: int):
        for start in range(0, len(batch.labels), size):
            part = slice(start, start + size)
            yield Batch(batch.images[part], batch.labels[part], batch.indices[part])

    return Task(number, tuple(sorted(set(batch.labels.tolist()))), len(batch.labels), batches)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def cross_entropy(x: np.ndarray, labels: list[int], weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean loss of a linear network without bias and its gradient, written out."""
    p = softmax(x @ weight.T)
    loss = float(-np.log(p[np.arange(len(labels)), labels]).mean())
    return loss, (p - np.eye(len(weight))[labels]).T @ x / len(labels)


def small_graph() -> Graph:
    """Three convolutions with BatchNorm and ReLU at 8, 4 and 4 pixels, then a classifier."""
    random = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    nodes: list[Node] = []
    value = "image"
    for number, (channels, inputs, stride) in enumerate([(4, 3, 1), (6, 4, 2), (6, 6, 1)]):
        weights[f"w{number}"] = random.normal(0, 0.4, (channels, inputs, 3, 3)).astype(np.float32)
        for name, array in (("g", np.ones), ("b", np.zeros), ("m", np.zeros), ("v", np.ones)):
            weights[f"{name}{number}"] = array(channels, np.float32)
        attributes: dict[str, object] = {"pads": [1, 1, 1, 1], "strides": [stride, stride], "kernel_shape": [3, 3]}
        nodes.append(Node("Conv", [value, f"w{number}"], [f"c{number}"], attributes))
        norm = [f"c{number}", *(f"{name}{number}" for name in "gbmv")]
        nodes.append(Node("BatchNormalization", norm, [f"n{number}"], {}))
        nodes.append(Node("Relu", [f"n{number}"], [f"r{number}"], {}))
        value = f"r{number}"
    weights["k"] = random.normal(0, 0.4, (CLASSES, 6)).astype(np.float32)
    weights["z"] = np.zeros(CLASSES, np.float32)
    nodes.append(Node("GlobalAveragePool", [value], ["p"], {}))
    nodes.append(Node("Flatten", ["p"], ["f"], {}))
    nodes.append(Node("Gemm", ["f", "k", "z"], ["logits"], {"transB": 1}))
    return Graph(nodes, weights, ["image"], ["logits"])


def graph_network(head_layers: int = 2) -> GraphNetwork:
    """The small graph cut before its last ``head_layers`` layers."""
    graph = small_graph()
    return GraphNetwork(graph, find_cut(graph, head_layers)).train()


def picture_task(number: int, count: int = 12) -> Images:
    """Two classes of random pictures that differ in brightness; task 0 has classes 0 and 1, task 1 has 2 and 3."""
    random = np.random.default_rng(number)
    labels = np.arange(count, dtype=np.int64) % 2 + 2 * number
    pixels = random.normal(0, 1, (count, 3, SIDE, SIDE)) + labels[:, None, None, None]
    images = torch.from_numpy(pixels.astype(np.float32))
    return Images(labels, lambda rows: images[torch.from_numpy(rows)])
