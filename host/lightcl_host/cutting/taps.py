"""The head's ``taps``: what it computes at several depths, pooled and normalised, for classifiers in closed form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightcl_edge.bundle.graph_names import FEATURES, PENULTIMATE, TAPS
from lightcl_edge.bundle.manifest import TapInfo
from lightcl_host.cutting.channel_axis import channels_last
from lightcl_host.cutting.cuts import Cut, find_cuts
from lightcl_host.graphs.graph import GraphView, replace_all, to_tensor
from lightcl_host.graphs.operators import VIEW_OPERATORS

if TYPE_CHECKING:
    import onnx

#: Most numbers of a sample that all taps together give: a class's scatter grows with their square.
MAX_TAP_SIZE = 1024
#: How many depths are tapped where nothing was measured.
_DEFAULT_DEPTHS = 2
#: What shallower places weigh beside the last blocks: they help with many images of a class and do harm with few.
_SHALLOW_WEIGHT = 0.5
#: Parts shorter than this are divided by it instead of their own length.
_SHORTEST = 1e-12
_MEANS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})


@dataclass(frozen=True)
class TapPlace:
    """A tensor of the head that can be tapped."""

    name: str  # as ``lightcl-host cuts`` lists it, ``features`` or ``penultimate``
    tensor: str
    shape: tuple[int, ...]  # for one sample: a vector, a map (channels, height, width) or tokens (tokens, channels)
    last: bool = False  # whether a map has its channels last

    @property
    def size(self) -> int:
        """How many numbers it gives: one a channel."""
        return self.shape[-1] if len(self.shape) == 2 or self.last else self.shape[0]


@dataclass(frozen=True)
class Tap:
    """What is taken of a place.

    Attributes:
        place: where.
        spread: the standard deviation of each channel over all positions, instead of its mean.
        scale: what the part is multiplied with after it was divided by its length.
    """

    place: TapPlace
    spread: bool = False
    scale: float = 1.0

    @property
    def name(self) -> str:
        """For the manifest."""
        return f"{self.place.name} (spread)" if self.spread else self.place.name

    @property
    def size(self) -> int:
        """How many numbers it gives."""
        return self.place.size


def tap_places(head: onnx.ModelProto) -> list[TapPlace]:
    """All places, the deepest first.

    These are the penultimate, then maps and tokens where a module ends and the head could be cut, then its input. Where
    no module is known, any such cut counts. Places whose mean is the penultimate would give the same numbers again.
    """
    view = GraphView(head)
    same = _with_mean(view, PENULTIMATE)
    cuts = [cut for cut in reversed(find_cuts(head)) if np.prod(cut.shape) > _size_of(view, cut.tensor, cut.shape)]
    named = [cut for cut in cuts if cut.name != cut.tensor] or cuts
    maps = [_place(view, cut) for cut in named if cut.tensor not in same]
    features = TapPlace(FEATURES, FEATURES, view.shapes[FEATURES], _has_last(view, FEATURES))
    given = [] if FEATURES in same else [features]
    return [TapPlace(PENULTIMATE, PENULTIMATE, view.shapes[PENULTIMATE]), *maps, *given]


def _has_last(view: GraphView, tensor: str) -> bool:
    return len(view.shapes[tensor]) == 3 and channels_last(view, tensor)


def _size_of(view: GraphView, tensor: str, shape: tuple[int, ...]) -> int:
    return TapPlace("", tensor, shape, _has_last(view, tensor)).size


def _place(view: GraphView, cut: Cut) -> TapPlace:
    names = (cut.name, *cut.aliases, cut.tensor)  # a network's own module may be called "features"
    return TapPlace(
        next(name for name in names if name not in (FEATURES, PENULTIMATE)),
        cut.tensor,
        cut.shape,
        _has_last(view, cut.tensor),
    )


def _with_mean(view: GraphView, vector: str) -> set[str]:
    """The tensors whose mean over space or tokens is this vector, and the vector itself."""
    found, tensor = {vector}, vector
    while (node := view.source(tensor)) is not None and node.op_type in VIEW_OPERATORS | _MEANS:
        tensor = node.input[0]
        if tensor not in view.shapes or _size_of(view, tensor, view.shapes[tensor]) != view.elements(vector):
            break
        found.add(tensor)
    return found


def blocks_of(places: Sequence[TapPlace]) -> list[TapPlace]:
    """The places that end a block, the deepest first.

    A place that is wider than a deeper one lies inside a block whose channels are expanded. A penultimate that would
    leave no room for another place is left out too.
    """
    blocks = [place for place in places[:1] if 2 * place.size <= MAX_TAP_SIZE]
    for place in places[1:]:
        if not blocks or place.size <= blocks[-1].size:
            blocks.append(place)
    return blocks


def size_of(taps: Sequence[Tap]) -> int:
    """How many numbers of a sample they give together."""
    return sum(tap.size for tap in taps)


def default_taps(places: Sequence[TapPlace]) -> list[Tap]:
    """The means of the last two blocks, the deepest first, and what else fits; the penultimate where no block does.

    The shallower one's spread follows, then mean and spread of the block that the head begins with. These weigh half.
    """
    blocks = blocks_of(places)
    chosen = [Tap(place) for place in blocks[:_DEFAULT_DEPTHS]]
    while size_of(chosen) > MAX_TAP_SIZE:
        chosen.pop()
    for more in (_spread(blocks[1:_DEFAULT_DEPTHS]), input_taps(places)) if len(chosen) == _DEFAULT_DEPTHS else ():
        wider = [*chosen, *(tap for tap in more if tap.name not in {other.name for other in chosen})]
        chosen = wider if size_of(wider) <= MAX_TAP_SIZE else chosen
    return chosen or [Tap(places[0])]


def input_taps(places: Sequence[TapPlace]) -> list[Tap]:
    """Mean and spread of the head's input, if it ends a block of maps or tokens."""
    last = [place for place in blocks_of(places)[-1:] if place.tensor == FEATURES and len(place.shape) > 1]
    return [*(Tap(place, scale=_SHALLOW_WEIGHT) for place in last), *_spread(last)]


def _spread(places: Sequence[TapPlace]) -> list[Tap]:
    """Of each place that has positions."""
    return [Tap(place, True, _SHALLOW_WEIGHT) for place in places if len(place.shape) > 1]


def add_taps(head: onnx.ModelProto, taps: Sequence[Tap]) -> list[TapInfo]:
    """Add the output ``taps``, shape ``(n, sum of sizes)``, in place; the classifier stays the last node.

    Each place is pooled over height and width, or over tokens, divided by its length and scaled; all are put side by
    side. A place is pooled as soon as it is there, so that nothing large lives longer.
    """
    from onnx import TensorProto, helper

    graph = head.graph
    graph.initializer.append(to_tensor(np.array([_SHORTEST], np.float32), f"{TAPS}/shortest"))
    graph.initializer.append(to_tensor(np.array([1], np.int64), f"{TAPS}/axes/2"))
    graph.initializer.append(to_tensor(np.array([2, 3], np.int64), f"{TAPS}/axes/3"))
    graph.initializer.append(to_tensor(np.array([1, 2], np.int64), f"{TAPS}/axes/last"))
    emitted: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    parts = []
    for number, tap in enumerate(taps):
        name = f"{TAPS}/{number}"
        graph.initializer.append(to_tensor(np.array([tap.scale], np.float32), f"{name}/scale"))
        nodes = _pooled(tap, name)
        emitted[tap.place.tensor] += nodes
        parts.append(nodes[-1].output[0])
    nodes = emitted.pop(FEATURES, [])
    for node in graph.node:
        nodes += [node, *(added for name in node.output for added in emitted.pop(name, []))]
    nodes.insert(len(nodes) - 1, helper.make_node("Concat", parts, [TAPS], axis=1))
    used = {name for node in nodes for name in node.input}
    replace_all(graph.node, nodes)
    replace_all(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used])
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.append(helper.make_tensor_value_info(TAPS, TensorProto.FLOAT, [batch, size_of(taps)]))
    return [TapInfo(tap.name, tap.size) for tap in taps]


def _pooled(tap: Tap, name: str) -> list[onnx.NodeProto]:
    """The nodes that pool a place, divide it by its length and scale it."""
    from onnx import helper

    place, nodes, pooled = tap.place, [], tap.place.tensor
    axes = f"{TAPS}/axes/{'last' if place.last else len(place.shape)}"

    def add(kind: str, inputs: list[str], result: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"{name}/{result}"], **attributes))
        return f"{name}/{result}"

    if len(place.shape) > 1:
        pooled = add("ReduceMean", [place.tensor, axes], "mean", keepdims=int(tap.spread))
    if tap.spread:
        apart = add("Sub", [place.tensor, pooled], "apart")
        variance = add("ReduceMean", [add("Mul", [apart, apart], "squared"), axes], "variance", keepdims=0)
        pooled = add("Sqrt", [variance], "deviation")
    length = add("ReduceL2", [pooled, f"{TAPS}/axes/2"], "length", keepdims=1)
    divisor = add("Max", [length, f"{TAPS}/shortest"], "divisor")
    unit = add("Div", [pooled, divisor], "unit")
    if tap.scale != 1.0:
        add("Mul", [unit, f"{name}/scale"], "part")
    return nodes
