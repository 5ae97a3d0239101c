"""Find the cuts of a graph: single tensors that carry everything that the rest of the graph needs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.errors import UsageError
from lightcl_host.cutting.trainability import reasons_against
from lightcl_host.graphs.graph import GraphView
from lightcl_host.graphs.module_paths import enclosing_paths, module_path
from lightcl_host.graphs.operators import ACTIVATION_OPERATORS

if TYPE_CHECKING:
    import onnx

#: Features with more axes, such as grouped channels in the middle of a shuffle, can't be used on a device.
_MAX_FEATURE_RANK = 3


@dataclass(frozen=True)
class Cut:
    """A place where the network can be parted."""

    name: str  # the outermost module that ends here, else the tensor's name
    tensor: str  # its name in the normal form
    shape: tuple[int, ...]  # of one image's feature
    trunk_parameters: int  # weights before it
    head_parameters: int  # weights after it, with the classifier's
    classifier_parameters: int  # weights of the classifier alone
    reason: str = ""  # why the head can't be trained; ``""`` when it can
    aliases: tuple[str, ...] = field(default=())  # other names for the same place

    @property
    def trainable(self) -> bool:
        """Whether the device can train what comes after."""
        return not self.reason

    @property
    def feature_bytes(self) -> int:
        """Size of one feature as the device stores it: a byte a value."""
        return int(np.prod(self.shape, dtype=np.int64))


def find_cuts(model: onnx.ModelProto) -> list[Cut]:
    """All cuts of a graph in normal form, in its order; image and logits are none."""
    view = GraphView(model)
    places = _drop_before_activations(view, _single_live_tensors(view))
    names = _names_by_tensor(view)
    reasons = reasons_against(view)
    before = _parameters_before(view)
    classifier = sum(_size(view.weights[name]) for name in view.graph.node[-1].input if name in view.weights)
    cuts: list[Cut] = []
    taken: set[str] = set()
    for place in places:
        tensor = view.graph.node[place].output[0]
        candidates = list(dict.fromkeys([*(name for name in names.get(tensor, []) if name not in taken), tensor]))
        taken.update(candidates)
        cuts.append(
            Cut(
                name=candidates[0],
                aliases=tuple(candidates[1:]),
                tensor=tensor,
                shape=view.shapes[tensor],
                trunk_parameters=before[place],
                head_parameters=before[-1] - before[place],
                classifier_parameters=classifier,
                reason=reasons[place],
            )
        )
    return cuts


def _single_live_tensors(view: GraphView) -> list[int]:
    """Indices of nodes after which exactly one activation, their own output, is still needed."""
    nodes = view.graph.node
    last_use = {name: uses[-1] for name, uses in view.consumers.items()}
    live = {view.graph.input[0].name}
    places = []
    for index, node in enumerate(nodes[:-1]):
        if not view.active_inputs(index):
            continue
        live.update(name for name in node.output if name in last_use)
        live = {name for name in live if last_use.get(name, -1) > index}
        if live == {node.output[0]} and 1 <= len(view.shapes.get(node.output[0], ())) <= _MAX_FEATURE_RANK:
            places.append(index)
    return places


def _drop_before_activations(view: GraphView, places: list[int]) -> list[int]:
    """Keep the later of two cuts with nothing but a cheap activation between them."""
    nodes = view.graph.node
    kept = []
    for place, following in zip(places, [*places[1:], None], strict=True):
        between = [] if following is None else [nodes[i] for i in range(place + 1, following + 1)]
        if not between or any(node.op_type not in ACTIVATION_OPERATORS for node in between):
            kept.append(place)
    return kept


def _names_by_tensor(view: GraphView) -> dict[str, list[str]]:
    """Tensor -> the modules whose last node makes it, outermost first."""
    last: dict[str, int] = {}
    for index, node in enumerate(view.graph.node):
        for path in enclosing_paths(module_path(node)):
            last[path] = index
    names: dict[str, list[str]] = {}
    for path in sorted(last, key=lambda path: path.count(".")):
        names.setdefault(view.graph.node[last[path]].output[0], []).append(path)
    return names


def _parameters_before(view: GraphView) -> list[int]:
    """For each node, how many weights it and all before it use (each initialiser counted once)."""
    seen: set[str] = set()
    total = 0
    totals = []
    for node in view.graph.node:
        for name in node.input:
            if name in view.weights and name not in seen:
                seen.add(name)
                total += _size(view.weights[name])
        totals.append(total)
    return totals


def _size(tensor: onnx.TensorProto) -> int:
    """Numbers in a weight; shapes, axes and bounds of clips are no weights."""
    import onnx

    is_weight = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 0
    return int(np.prod(list(tensor.dims), dtype=np.int64)) if is_weight else 0


def spatial(shape: tuple[int, ...]) -> bool:
    """Whether a feature is a map of at least 2 x 2 positions, or at least two tokens."""
    return min(shape[1:], default=0) >= 2 and shape[0] >= 2


def choose_by_name(cuts: list[Cut], name: str) -> Cut:
    """The cut of that name or alias; UsageError when there is none, or its head can't be trained."""
    found = next((cut for cut in cuts if cut.name == name), None)
    found = found or next((cut for cut in cuts if name in cut.aliases), None)
    if found is None:
        known = [cut.name for cut in cuts]
        near = difflib.get_close_matches(name, [*known, *(a for cut in cuts for a in cut.aliases)], n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(known[:8])}"
        raise UsageError(f"the model has no cut {name!r}; {hint} (lightcl-host cuts lists all {len(known)})")
    if not found.trainable:
        later = next((cut for cut in cuts[cuts.index(found) + 1 :] if cut.trainable), None)
        advice = f"the nearest cut that can is {later.name}" if later else "no later cut can either"
        raise UsageError(f"the head after cut {name!r} can't be trained: {found.reason}; {advice}")
    return found
