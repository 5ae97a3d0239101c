"""Which axis of a feature holds the channels."""

from lightcl_host.graphs.graph import GraphView, attribute

_LAST = frozenset({"LayerNormalization", "MatMul", "Gemm", "RMSNormalization"})
_FIRST = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "BatchNormalization",
        "InstanceNormalization",
    }
)
_FIRST_TO_LAST, _LAST_TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def channels_last(view: GraphView, tensor: str) -> bool:
    """Whether the channels are the last axis, as in tokens and in the windows of a Swin transformer.

    Decided by the nearest operator that works on one axis, before the tensor or else after it.
    """
    rank = len(view.shapes.get(tensor, ()))
    if rank != 3:
        return rank < 3
    waiting, seen = [tensor], {tensor}
    while waiting:
        node = view.source(waiting.pop(0))
        if node is None:
            continue
        order = attribute(node, "perm")
        if node.op_type in _LAST or order == _FIRST_TO_LAST:
            return True
        if node.op_type in _FIRST or order == _LAST_TO_FIRST:
            return False
        following = [name for name in node.input if view.shapes.get(name) == view.shapes[tensor] and name not in seen]
        waiting += following
        seen.update(following)
    users = [view.graph.node[index] for index in view.consumers.get(tensor, [])]
    return any(node.op_type in _LAST or attribute(node, "perm") == _LAST_TO_FIRST for node in users)


def channel_axis(view: GraphView, tensor: str) -> int:
    """Which axis of one image's feature holds the channels."""
    return len(view.shapes[tensor]) - 1 if channels_last(view, tensor) else 0
