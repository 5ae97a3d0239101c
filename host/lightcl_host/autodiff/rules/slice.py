"""Gradients of operators that cut tensors apart or put them together."""

from collections.abc import Sequence

from lightcl_edge.errors import BundleError
from lightcl_host.autodiff.builder import ForwardNode, GraphBuilder, Shape
from lightcl_host.autodiff.gradients import Gradient
from lightcl_host.autodiff.rules.registry import BackwardNode, rule


@rule("Concat")
def concat(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Each input gets its stretch of the gradient."""
    node = back.node
    axis = node.attributes["axis"] % len(graph.shape(node.outputs[0]))
    gradients, start = list[Gradient](), 0
    for name, needs in zip(node.inputs, back.wanted, strict=True):
        end = start + graph.shape(name)[axis]
        gradients.append(graph.slice(back.gradient, [start], [end], [axis]) if needs else None)
        start = end
    return gradients


@rule("Split")
def split(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The parts' gradients side by side; zeros for a part that nothing used."""
    node = back.node
    axis = node.attributes.get("axis", 0) % len(graph.shape(node.inputs[0]))
    parts = []
    for name, gradient in zip(node.outputs, back.upstream, strict=True):
        parts.append(gradient or graph.op("Expand", graph.constant(0), graph.ints(graph.shape(name))))
    return [graph.op("Concat", *parts, axis=axis)]


def _slice_bounds(graph: GraphBuilder, node: ForwardNode, shape: Shape) -> list[tuple[int, range]]:
    """For each sliced axis, the indices that the slice took, as numpy's slices do."""
    given: list[list[int]] = [graph.value(name, node).tolist() if name else [] for name in node.inputs[1:]]
    starts, ends, axes, steps = [*given, [], []][:4]
    axes = axes or list(range(len(starts)))
    bounds = []
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(axes), strict=True):
        side = shape[axis]
        # ONNX writes "to the very start, backwards" as an end below -side, numpy as None.
        last = None if step < 0 and end < -side else end
        bounds.append((axis % len(shape), range(side)[slice(start, last, step)]))
    return bounds


def _scatter_axis(graph: GraphBuilder, tensor: str, shape: list[int], axis: int, taken: range, side: int) -> str:
    """Put the values of one axis back where they came from, zeros between; updates ``shape``."""
    count = len(taken)
    if taken.step < 0:
        tensor = graph.slice(tensor, [-1], [-(2**31)], [axis], [-1])
        taken = taken[::-1]
    if taken.step > 1:
        spaced = [*shape[:axis], count, 1, *shape[axis + 1 :]]
        ends = [0] * (axis + 1) + [taken.step - 1] + [0] * (len(shape) - axis - 1)
        gaps = graph.op("Pad", graph.reshape(tensor, spaced), graph.ints([0] * len(spaced) + ends))
        shape[axis] = count * taken.step
        tensor = graph.reshape(gaps, shape)
    after = side - taken.start - shape[axis]  # negative where the last gap reaches over the edge
    pads = [0] * (2 * len(shape))
    pads[axis], pads[len(shape) + axis] = taken.start, after
    shape[axis] = side
    return graph.op("Pad", tensor, graph.ints(pads)) if any(pads) else tensor


@rule("Slice")
def cut(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """The gradient where the slice came from, zeros elsewhere."""
    source = graph.shape(back.node.inputs[0])
    tensor, shape = back.gradient, list(graph.shape(back.node.outputs[0]))
    for axis, taken in _slice_bounds(graph, back.node, source):
        tensor = _scatter_axis(graph, tensor, shape, axis, taken, source[axis])
    return [tensor]


@rule("Pad")
def pad(graph: GraphBuilder, back: BackwardNode) -> Sequence[Gradient]:
    """Cut off what was added (and give zeros for what a negative pad cut off)."""
    node = back.node
    mode = node.attributes.get("mode", b"constant")
    if mode != b"constant":
        raise BundleError(f"head.onnx: {node.describe()} has mode {mode.decode()!r}, expected 'constant' to train it")
    rank = len(graph.shape(node.inputs[0]))
    amounts = graph.value(node.inputs[1], node).tolist()
    has_axes = len(node.inputs) > 3 and node.inputs[3]
    axes = [a % rank for a in graph.value(node.inputs[3], node).tolist()] if has_axes else list(range(rank))
    undo = [0] * (2 * rank)
    for position, axis in enumerate(axes):
        undo[axis], undo[rank + axis] = -amounts[position], -amounts[len(axes) + position]
    return [graph.op("Pad", back.gradient, graph.ints(undo))]
