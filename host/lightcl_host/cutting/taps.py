"""The head's ``taps``: what it computes at several depths, pooled and normalised, for classifiers in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def fits(places: Sequence[TapPlace]) -> bool:
    """Whether their taps together have at most :data:`MAX_TAP_SIZE` numbers."""
    return sum(place.size for place in places) <= MAX_TAP_SIZE


def default_taps(places: Sequence[TapPlace]) -> list[TapPlace]:
    """The last two blocks, as far as they fit, the deepest first; the penultimate where none does."""
    chosen = blocks_of(places)[:_DEFAULT_DEPTHS]
    while not fits(chosen):
        chosen.pop()
    return chosen or list(places[:1])


def add_taps(head: onnx.ModelProto, places: Sequence[TapPlace]) -> list[TapInfo]:
    """Add the output ``taps``, shape ``(n, sum of sizes)``, in place; the classifier stays the last node.

    Each place is pooled (mean over height and width, or over tokens), divided by its length, and all are put side by
    side. A place is pooled as soon as it is there, so that nothing large lives longer.
    """
    from onnx import TensorProto, helper

    graph = head.graph
    graph.initializer.append(to_tensor(np.array([_SHORTEST], np.float32), f"{TAPS}/shortest"))
    graph.initializer.append(to_tensor(np.array([1], np.int64), f"{TAPS}/axes/2"))
    graph.initializer.append(to_tensor(np.array([2, 3], np.int64), f"{TAPS}/axes/3"))
    graph.initializer.append(to_tensor(np.array([1, 2], np.int64), f"{TAPS}/axes/last"))
    emitted: dict[str, list[onnx.NodeProto]] = {}
    parts = []
    for number, place in enumerate(places):
        emitted[place.tensor] = _normalised(place, f"{TAPS}/{number}")
        parts.append(emitted[place.tensor][-1].output[0])
    nodes = emitted.pop(FEATURES, [])
    for node in graph.node:
        nodes += [node, *(added for name in node.output for added in emitted.pop(name, []))]
    nodes.insert(len(nodes) - 1, helper.make_node("Concat", parts, [TAPS], axis=1))
    used = {name for node in nodes for name in node.input}
    replace_all(graph.node, nodes)
    replace_all(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used])
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    total = sum(place.size for place in places)
    graph.output.append(helper.make_tensor_value_info(TAPS, TensorProto.FLOAT, [batch, total]))
    return [TapInfo(place.name, place.size) for place in places]


def _normalised(place: TapPlace, name: str) -> list[onnx.NodeProto]:
    """The nodes that pool a place and divide it by its length."""
    from onnx import helper

    nodes, pooled = [], place.tensor
    if len(place.shape) > 1:
        pooled = f"{name}/mean"
        axes = f"{TAPS}/axes/{'last' if place.last else len(place.shape)}"
        nodes.append(helper.make_node("ReduceMean", [place.tensor, axes], [pooled], keepdims=0))
    return [
        *nodes,
        helper.make_node("ReduceL2", [pooled, f"{TAPS}/axes/2"], [f"{name}/length"], keepdims=1),
        helper.make_node("Max", [f"{name}/length", f"{TAPS}/shortest"], [f"{name}/divisor"]),
        helper.make_node("Div", [pooled, f"{name}/divisor"], [f"{name}/part"]),
    ]
