"""Writing gradients onto the buffers of parameters or accumulators, in an order that is safe in place.

The runtime does not know that ``update.0.W`` is bound to the memory of ``W``. It may run the update before
another node that reads ``W``, which then silently reads the new weights. So each update is made to depend on
every other reader of its parameter.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import onnx

from lightcl_host.autodiff.builder import GraphBuilder
from lightcl_host.autodiff.gradients import ParameterGradient, PositionGradients
from lightcl_host.graphs.operators import VIEW_OPERATORS

UPDATE_PREFIX = "update."
ACCUMULATOR_PREFIX = "accumulator."


def ancestors_of(nodes: Sequence[onnx.NodeProto], tensors: Iterable[str]) -> set[str]:
    """The given tensors and all that must exist before them."""
    needed = set(tensors)
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
    return needed


def update_hazards(model: onnx.ModelProto) -> list[str]:
    """In a training step, the in-place updates that may run before another reader of the same memory.

    Returns a sentence for each. There are none if the data dependencies alone make every order safe.
    """
    nodes, hazards = list(model.graph.node), []
    inputs = {value.name for value in model.graph.input}
    before, readers = _nodes_before(nodes), _all_readers(nodes)
    for output in (name for node in nodes for name in node.output if name.startswith(UPDATE_PREFIX)):
        parameter = output.removeprefix(UPDATE_PREFIX).partition(".")[2]
        accumulator = ACCUMULATOR_PREFIX + parameter
        target = accumulator if accumulator in inputs else parameter
        for reader in readers[target]:
            if not before[output] >> reader & 1:
                hazards.append(f"{output} may overwrite {target} before {nodes[reader].output[0]} has read it")
    return hazards


def _nodes_before(nodes: Sequence[onnx.NodeProto]) -> dict[str, int]:
    """For each tensor, the positions of the nodes that have run once it exists, as bits of a number."""
    before: dict[str, int] = {}
    for position, node in enumerate(nodes):
        done = 1 << position
        for name in node.input:
            done |= before.get(name, 0)
        before |= dict.fromkeys(node.output, done)
    return before


def _all_readers(nodes: Sequence[onnx.NodeProto]) -> defaultdict[str, list[int]]:
    """For each tensor, the positions of the nodes that read its memory, directly or through a view."""
    readers: defaultdict[str, list[int]] = defaultdict(list)
    owner: dict[str, str] = {}
    for position, node in enumerate(nodes):
        for memory in {owner.get(name, name) for name in node.input}:
            readers[memory].append(position)
        if node.op_type in VIEW_OPERATORS:
            owner |= dict.fromkeys(node.output, owner.get(node.input[0], node.input[0]))
    return readers


class Updater:
    """Emits the updates of a step.

    In place, that is ``parameter + neg_lr * gradient`` onto the parameter; else ``accumulator + gradient`` onto the
    parameter's accumulator.
    """

    def __init__(self, graph: GraphBuilder, *, in_place: bool) -> None:
        self._graph, self._in_place = graph, in_place
        self.outputs: list[str] = []
        self.updated: set[str] = set()

    def apply(
        self, parameter: str, gradient: str | ParameterGradient | PositionGradients, after: Sequence[str]
    ) -> None:
        """Emit the update of one parameter, from its gradient or from what adds it.

        ``after`` are tensors that exist by then anyway and cost least to wait for: the node's other gradients and its
        upstream ones.
        """
        graph = self._graph
        if isinstance(gradient, str):
            gradient = graph.adder(graph.full(gradient, graph.shape(parameter)))
        pieces = gradient.names if isinstance(gradient, PositionGradients) else [parameter]
        bases = [piece if self._in_place else ACCUMULATOR_PREFIX + piece for piece in pieces]
        scale = self._ordered_scale(pieces, after) if self._in_place else None
        start = len(graph.nodes)
        made = gradient.add(bases, scale) if isinstance(gradient, PositionGradients) else [gradient(bases[0], scale)]
        renamed = {name: f"{UPDATE_PREFIX}0.{piece}" for piece, name in zip(pieces, made, strict=True)}
        for node in graph.nodes[start:]:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        self.outputs.extend(renamed.values())
        self.updated.add(parameter)

    def _ordered_scale(self, pieces: Sequence[str], after: Sequence[str]) -> str:
        """``neg_lr`` in a form that exists only once every reader of the parameter's pieces has run."""
        graph = self._graph
        readers = _all_readers(graph.nodes)
        waiting = [graph.nodes[position].output[0] for piece in pieces for position in readers[piece]]
        scale = "neg_lr"
        for tensor in (*after, *waiting):
            before = ancestors_of(graph.nodes, [tensor])
            left = [name for name in waiting if name not in before]
            if len(left) < len(waiting):
                # as one row: of a vector, shape inference would follow each value, for seconds
                first = graph.slice(graph.reshape(tensor, [1, -1]), [0], [1], [1])
                scale = graph.op("Add", scale, graph.op("Mul", graph.reshape(first, [1]), "zero"))
                waiting = left
        return scale
