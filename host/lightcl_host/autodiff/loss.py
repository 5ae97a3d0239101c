"""The loss of a training step and where its gradient enters the head.

``sum_i weights[i] CE(logits[i] + logit_offset[i], labels[i])
+ beta sum_t sum(mask[t] pattern_weight (activation[t] - target[t])^2)``,
as ``lightcl_edge.learning.engines.contract`` states it. New samples are the first rows of a batch, buffered ones the
last.
"""

import numpy as np

from lightcl_edge.bundle.graph_names import LOGITS
from lightcl_host.autodiff.builder import GraphBuilder


def cross_entropy(graph: GraphBuilder, samples: int, buffered: int, capacity: int) -> tuple[str, str]:
    """Emit the weighted cross entropy of the new samples.

    Returns:
        The loss (a scalar) and its gradient at ``logits``, shape ``(samples + buffered, capacity)``.
    """
    logits = graph.slice(LOGITS, [0], [samples], [0]) if buffered else LOGITS
    log_probability = graph.op("LogSoftmax", graph.op("Add", logits, "logit_offset"), axis=1)
    weights = graph.reshape("weights", [samples, 1])
    rows = graph.constant(np.arange(capacity)[None, :], np.int64)
    chosen = graph.mask(graph.op("Equal", graph.reshape("labels", [samples, 1]), rows))
    target = graph.op("Mul", chosen, weights)
    loss = graph.op("Neg", graph.sum(graph.op("Mul", target, log_probability), [0, 1]))
    expected = graph.op("Mul", graph.op("Exp", log_probability), weights)
    gradient = graph.op("Sub", expected, target)
    if buffered:
        gradient = graph.op("Pad", gradient, graph.ints([0, 0, buffered, 0]))
    return loss, gradient


class PatternTerms:
    """The squared distances of the buffered samples' activations from their patterns."""

    def __init__(self, graph: GraphBuilder, names: list[str], samples: int, buffered: int) -> None:
        self._graph = graph
        self._pending = set(names) if buffered else set()
        self._samples, self._buffered = samples, buffered
        self._differences: dict[str, str] = {}
        self.doubled_terms: list[str] = []  # twice the terms of the loss

    def holds(self, name: str) -> bool:
        """True if the tensor has a pattern."""
        return name in self._pending

    def observe(self, name: str) -> None:
        """Emit ``activation - target`` now, so that the whole activation can be freed."""
        rows = self._graph.slice(name, [self._samples], [self._samples + self._buffered], [0])
        self._differences[name] = self._graph.op("Sub", rows, f"target.{name}")

    def add_gradient(self, name: str, gradient: str | None) -> str:
        """Emit the term of a tensor; add its gradient to that of later layers (of the whole batch), if there is one."""
        graph, shape = self._graph, self._graph.shape(name)
        if name not in self._differences:
            self.observe(name)
        difference = self._differences.pop(name)
        seed = graph.op("Mul", difference, self._factor(name, len(shape), shape[1]))
        axes = list(range(len(shape)))
        self.doubled_terms.append(graph.sum(graph.op("Mul", seed, difference), axes))
        if gradient is None or graph.planes:  # where images may be channels first, adding rows is not for ScatterND
            padded = graph.op("Pad", seed, graph.ints([self._samples, *[0] * (2 * len(shape) - 1)]))
            return graph.op("Add", gradient, padded) if gradient else padded
        whole = graph.full(gradient, shape)
        rows = np.arange(self._samples, self._samples + self._buffered)[:, None]
        return graph.op("ScatterND", whole, graph.constant(rows, np.int64), seed, reduction="add")

    def _factor(self, name: str, rank: int, channels: int) -> str:
        """``2 beta * pattern_weight * mask``, shape ``(buffered, channels, 1, ...)``."""
        graph, ones = self._graph, [1] * (rank - 2)
        mask = graph.op("Mul", graph.reshape(f"mask.{name}", [1, channels, *ones]), graph.op("Add", "beta", "beta"))
        return graph.op("Mul", graph.reshape("pattern_weight", [self._buffered, 1, *ones]), mask)
