"""The reverse sweep: from the loss back through the head's nodes to its parameters."""

from collections.abc import Collection, Sequence

import numpy as np

from lightcl_edge.bundle.graph_names import FEATURES
from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import Convolution, ForwardNode, GraphBuilder
from lightcl_host.autodiff.convolution.blocks import BlockConvolution, is_block_convolution
from lightcl_host.autodiff.convolution.planes import PlaneConvolution, is_plane_convolution
from lightcl_host.autodiff.convolution.pointwise import PointwiseConvolution, is_pointwise_convolution
from lightcl_host.autodiff.convolution.rows import RowConvolution, is_dense_convolution
from lightcl_host.autodiff.convolution.winograd import WinogradConvolution, is_winograd_convolution
from lightcl_host.autodiff.gradients import ParameterGradient, PositionGradients
from lightcl_host.autodiff.loss import PatternTerms
from lightcl_host.autodiff.rules import RULES
from lightcl_host.autodiff.rules.activation import GATING_OPERATORS, gate_of
from lightcl_host.autodiff.rules.registry import BackwardNode
from lightcl_host.autodiff.sgd_update import Updater, ancestors_of
from lightcl_host.graphs.operators import STEP_OPERATORS


def _depending_on(graph: GraphBuilder, parameters: Collection[str]) -> set[str]:
    """All tensors that change when a parameter does."""
    moved = set(parameters)
    for node in graph.forward:
        if moved.intersection(node.inputs) and node.kind not in STEP_OPERATORS:
            moved.update(node.outputs)
    return moved


def check_trainable(graph: GraphBuilder, parameters: Collection[str]) -> None:
    """Refuse a head that the sweep can't differentiate.

    Raises BundleError, which names an operator without a rule, or a parameter that is read twice or has no effect.
    """
    moved = _depending_on(graph, parameters)
    for node in graph.forward:
        if moved.intersection(node.inputs) and node.kind not in RULES:
            raise BundleError(
                f"head.onnx: {node.describe()} can't be trained through; expected one of "
                f"{', '.join(sorted(RULES))}. Choose a cut behind it"
            )
    for name in parameters:
        count = sum(node.inputs.count(name) for node in graph.forward)
        if count != 1:
            raise BundleError(f"head.onnx: {count} operators on the way to logits read {name!r}, expected 1")


def _convolution(
    graph: GraphBuilder, node: ForwardNode, parameters: Collection[str], planes: bool
) -> Convolution | None:
    """What emits a Conv node faster. It saves rows or planes, not the image."""
    if is_dense_convolution(graph, node):
        if planes and is_pointwise_convolution(graph, node, parameters):
            return PointwiseConvolution(graph, node)
        if is_winograd_convolution(graph, node, parameters):
            return WinogradConvolution(graph, node)
        return RowConvolution(graph, node, parameters)
    if is_plane_convolution(graph, node):
        return PlaneConvolution(graph, node)
    return BlockConvolution(graph, node) if is_block_convolution(graph, node) else None


def emit_forward(graph: GraphBuilder, parameters: Collection[str], patterns: PatternTerms) -> None:
    """Emit the forward nodes, and nodes that let activations go before the sweep.

    An activation that no rule reads again is replaced by its gate, which is a quarter of the size. Where it has a
    pattern, the difference of the buffered rows is kept too.
    """
    moved = _depending_on(graph, parameters)
    saved = set[str]()
    planes = any(is_plane_convolution(graph, node) or is_block_convolution(graph, node) for node in graph.forward)
    for node in graph.forward:
        wanted = [name in moved for name in node.inputs]
        convolution = _convolution(graph, node, parameters, planes)
        if convolution is not None:
            graph.convolutions[node.outputs[0]] = convolution
        elif any(wanted) and node.kind in RULES.keys() - GATING_OPERATORS:  # those without a rule only feed taps
            saved.update(RULES[node.kind].saves(node, wanted))
    for node in graph.forward:
        if node.outputs[0] in graph.convolutions:
            graph.convolutions[node.outputs[0]].emit_forward()
        else:
            graph.nodes.append(node.proto)
        if node.kind in GATING_OPERATORS and node.outputs[0] in moved - saved:
            gate = gate_of(graph, node)
            if gate:
                graph.gates[node.outputs[0]] = gate
        for name in node.outputs:
            if patterns.holds(name) and name not in saved:
                patterns.observe(name)
    for copies in (graph.rows, graph.planes, graph.pixels):
        copies.pop(FEATURES, None)  # the features stay in memory: copies are made again rather than kept too


class Sweep:
    """Carries gradients from the outputs to the parameters.

    The head's forward nodes must be in the graph. ``patterns`` adds its terms at inner activations, ``updater`` takes
    the parameters' gradients.
    """

    def __init__(
        self, graph: GraphBuilder, parameters: Collection[str], patterns: PatternTerms, updater: Updater
    ) -> None:
        self._graph, self._parameters = graph, set(parameters)
        self._patterns, self._updater = patterns, updater
        self._moved = _depending_on(graph, parameters)
        self._gradients: dict[str, list[str]] = {}

    def run(self, output: str, gradient: str) -> None:
        """Sweep back from the tensor that the loss was computed from, given the loss's gradient there."""
        self._gradients[output] = [gradient]
        for node in reversed(self._graph.forward):
            wanted = [name in self._moved for name in node.inputs]
            if any(wanted):
                self._pass_back(node, wanted)

    def _pass_back(self, node: ForwardNode, wanted: Sequence[bool]) -> None:
        upstream = [self._collect(name) for name in node.outputs]
        if not any(upstream):
            return
        rule = RULES[node.kind]
        if not rule.spreads:
            pairs = zip(upstream, node.outputs, strict=True)
            upstream = [name and self._graph.full(name, self._graph.shape(output)) for name, output in pairs]
        start = len(self._graph.nodes)
        results = rule.function(self._graph, BackwardNode(node, upstream, wanted))
        others = [result for result in results if isinstance(result, str)]
        after = [*others, *filter(None, upstream)]
        found = [(name, result) for name, result in zip(node.inputs, results, strict=False) if result is not None]
        for name, result in found:
            if name not in self._parameters:
                self._hand_on(name, result)
        for name, result in found:
            if name in self._parameters:
                self._updater.apply(name, result, after)
        self._updates_first(start)

    def _updates_first(self, start: int) -> None:
        """Among the nodes since ``start``, put those that updates need first, so that ``dX`` is made last.

        Where an update in place waits for ``dX``, ``dX`` still comes before it.
        """
        emitted = self._graph.nodes[start:]
        needed = ancestors_of(emitted, self._updater.outputs)
        first = [node for node in emitted if needed.intersection(node.output)]
        self._graph.nodes[start:] = first + [node for node in emitted if not needed.intersection(node.output)]

    def _hand_on(self, name: str, result: str | ParameterGradient | PositionGradients) -> None:
        """Keep a gradient until the node that made the tensor is reached."""
        shape = self._graph.shape(name)
        if isinstance(result, PositionGradients):
            raise TypeError(f"a kernel held by position is a parameter, {name!r} is none")
        if callable(result):  # an adder for a tensor that is no parameter: add it to nothing
            result = self._graph.reshape(result(None, None), shape)
        self._graph.shapes.setdefault(result, shape)
        self._gradients.setdefault(name, []).append(result)

    def _collect(self, name: str) -> str | None:
        """The sum of all gradients that reached a tensor."""
        graph, total = self._graph, None
        parts = self._gradients.pop(name, [])
        for part in sorted(parts, key=lambda part: -int(np.prod(graph.shapes.get(part, ())))):
            if total is None:
                total = part
                continue
            shape = np.broadcast_shapes(graph.shape(total), graph.shape(part))
            total = graph.op("Add", total, part)
            graph.shapes[total] = shape
        if self._patterns.holds(name):
            total = self._patterns.add_gradient(name, total)
            graph.shapes[total] = graph.shape(name)
        return total
