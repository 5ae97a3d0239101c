"""A whole network from an ONNX graph, as the baselines need it: with a view of its inside."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.torch_graph import Graph, GraphModule
from lightcl_edge.learning.engines.torch_node import Node

#: Operators whose outputs LightCL holds as feature patterns.
ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "HardSwish", "Relu", "Sigmoid"})
#: Operators with weights to learn.
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True)
class Stage:
    """A part of a network: all nodes that work at one spatial size, up to a tensor that alone goes on."""

    graph: Graph  # one input, one output
    channels: int
    side: int  # of its output, 1 for a vector
    starts_active: bool  # its first node is an activation, so its input is what comes before one


class GraphNetwork(torch.nn.Module):
    """A graph with one output as an ordinary network; ``cut`` is the tensor after which LightCL trains."""

    def __init__(self, graph: Graph, cut: str | None = None) -> None:
        super().__init__()
        self.body = GraphModule(graph)
        self.cut = cut
        self._output = graph.outputs[0]
        graph.initializers.clear()  # torch has its own copy

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(n, classes)`` of images ``(n, 3, height, width)``."""
        logits: torch.Tensor = self.body(images)[self._output]
        return logits.flatten(1)

    def activations(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits, and what comes out of each activation after the cut: tensor name -> ``(n, channels, ...)``."""
        names = [node.outputs[0] for node in self.nodes_after_cut() if node.operator in ACTIVATIONS]
        found = self.body(images, [*names, self._output])
        return found[self._output].flatten(1), {name: found[name] for name in names}

    def nodes_after_cut(self) -> list[Node]:
        """What LightCL trains; a BundleError where no cut is known."""
        nodes = self.body.graph.nodes
        if self.cut is None:
            raise BundleError("this network has no known cut; export the bundle with --with-baselines")
        place = next(at for at, node in enumerate(nodes) if self.cut in node.outputs)
        return nodes[place + 1 :]

    def freeze_trunk(self) -> None:
        """Train only what comes after the cut; BatchNorm goes on collecting statistics everywhere."""
        after = {name for node in self.nodes_after_cut() for name in node.inputs}
        for name, parameter in self.body.named_tensors().items():
            parameter.requires_grad_(name in after)


def cut_places(graph: Graph) -> list[int]:
    """Positions of nodes after which only their own output is still needed; never the last."""
    made = {graph.inputs[0]} | {name for node in graph.nodes for name in node.outputs}
    last_use = {name: at for at, node in enumerate(graph.nodes) for name in node.inputs if name in made}
    live = {graph.inputs[0]}
    places = []
    for at, node in enumerate(graph.nodes[:-1]):
        live |= {name for name in node.outputs if name in last_use}
        live = {name for name in live if last_use[name] > at}
        if live == {node.outputs[0]}:
            places.append(at)
    return places


def find_cut(graph: Graph, head_layers: int) -> str:
    """Where a bundle's head begins in its whole network; a BundleError when there is no such place.

    A cut parts all of a network, so the head's layers (those with weights, the classifier included) are the last ones
    of the whole. The cut is the last tensor that alone goes on and after which exactly these layers come.
    """
    weighted = [at for at, node in enumerate(graph.nodes) if node.operator in WEIGHTED]
    bounds = [-1, *weighted, len(graph.nodes)][-head_layers - 2 : -head_layers] if head_layers else []
    places = [at for at in cut_places(graph) if len(bounds) == 2 and bounds[0] <= at < bounds[1]]
    if not places:
        raise BundleError(
            f"no tensor of the bundle's whole network has the head's {head_layers} layers after it; "
            "export the bundle again with lightcl-host export --with-baselines"
        )
    return graph.nodes[places[-1]].outputs[0]


def split_stages(network: GraphNetwork, images: torch.Tensor) -> list[Stage]:
    """Part a network where its spatial size changes, as one image ``(1, 3, height, width)`` shows.

    Each stage but the last ends right before the activation that ends its size, where there is one, else at the last
    tensor of that size that alone goes on. The stages' arrays share the network's memory.
    """
    graph = network.body.as_graph()
    shapes = output_shapes(network, images)
    found = [(at, shapes[graph.nodes[at].outputs[0]]) for at in cut_places(graph)]
    maps = [(at, shape[2]) for at, shape in found if len(shape) == 4 and shape[2] > 1]
    ends = [at for (at, side), (_, following) in zip(maps, [*maps[1:], (0, 0)], strict=True) if following != side]
    places = {at for at, _ in maps}
    before = [at - 1 if at - 1 in places and graph.nodes[at].operator in ACTIVATIONS else at for at in ends]
    bounds = [-1, *before, len(graph.nodes) - 1]
    return [_stage(graph, start + 1, end + 1, shapes) for start, end in pairwise(bounds)]


def output_shapes(network: GraphNetwork, images: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """The shape of every node's output, by name, for images ``(n, 3, height, width)``."""
    names = [node.outputs[0] for node in network.body.graph.nodes]
    network.eval()
    with torch.no_grad():
        found = network.body(images, names)
    network.train()
    return {name: tuple(found[name].shape) for name in names}


def _stage(graph: Graph, start: int, end: int, shapes: dict[str, tuple[int, ...]]) -> Stage:
    nodes = graph.nodes[start:end]
    used = {name for node in nodes for name in node.inputs}
    weights = {name: array for name, array in graph.initializers.items() if name in used}
    source = graph.nodes[start - 1].outputs[0] if start else graph.inputs[0]
    output = nodes[-1].outputs[0]
    shape = shapes[output]
    part = Graph(nodes, weights, [source], [output])
    return Stage(part, shape[1], shape[2] if len(shape) == 4 else 1, nodes[0].operator in ACTIVATIONS)
