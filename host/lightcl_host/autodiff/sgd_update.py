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
    order, hazards = _Order(), []
    order.look(model.graph.node)
    inputs = {value.name for value in model.graph.input}
    for output in (name for name in order.before if name.startswith(UPDATE_PREFIX)):
        parameter = output.removeprefix(UPDATE_PREFIX).partition(".")[2]
        accumulator = ACCUMULATOR_PREFIX + parameter
        target = accumulator if accumulator in inputs else parameter
        for reader in order.readers[target]:
            if not order.before[output] >> reader & 1:
                hazards.append(f"{output} may overwrite {target} before {order.results[reader]} has read it")
    return hazards


class _Order:
    """What must run before what. Each node is looked at once and numbered.

    Attributes:
        results: the first output of each node, by its number.
        readers: tensor -> the numbers of the nodes that read its memory, directly or through a view.
        before: tensor -> the numbers of the nodes that have run once it exists, as bits of an integer.
    """

    def __init__(self) -> None:
        self.results: list[str] = []
        self.readers: defaultdict[str, list[int]] = defaultdict(list)
        self.before: dict[str, int] = {}
        self._known: dict[int, onnx.NodeProto] = {}
        self._owner: dict[str, str] = {}

    def look(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Take in the nodes that are new, in an order in which they can run; their names must be final."""
        for node in nodes:
            if id(node) in self._known:
                continue
            self._known[id(node)] = node
            number, read, made = len(self.results), list(node.input), list(node.output)
            self.results.append(made[0])
            done = 1 << number
            for name in read:
                done |= self.before.get(name, 0)
            self.before |= dict.fromkeys(made, done)
            for memory in {self._owner.get(name, name) for name in read}:
                self.readers[memory].append(number)
            if node.op_type in VIEW_OPERATORS:
                self._owner |= dict.fromkeys(made, self._owner.get(read[0], read[0]))


class Updater:
    """Emits the updates of a step.

    In place, that is ``parameter + neg_lr * gradient`` onto the parameter; else ``accumulator + gradient`` onto the
    parameter's accumulator.
    """

    def __init__(self, graph: GraphBuilder, *, in_place: bool) -> None:
        self._graph, self._in_place = graph, in_place
        self._order = _Order()
        self._scales: dict[tuple[str, str], str] = {}
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
        graph, order = self._graph, self._order
        order.look(graph.nodes)
        waiting = [number for piece in pieces for number in order.readers[piece]]
        scale = "neg_lr"
        for tensor in (*after, *(order.results[number] for number in waiting)):
            before = order.before.get(tensor, 0)
            left = [number for number in waiting if not before >> number & 1]
            if len(left) < len(waiting):
                scale = self._waiting_for(tensor, scale)
                waiting = left
        return scale

    def _waiting_for(self, tensor: str, scale: str) -> str:
        """A scale that exists only once the tensor does; parameters of one operator share it."""
        graph, key = self._graph, (scale, tensor)
        if key not in self._scales:
            # as one row: of a vector, shape inference would follow each value, for seconds
            row = graph.reshape(tensor, [1, -1])
            graph.blind.add(row)
            first = graph.slice(row, [0], [1], [1])
            self._scales[key] = graph.op("Add", scale, graph.op("Mul", graph.reshape(first, [1]), "zero"))
        return self._scales[key]
