"""The input and the output of a foreign graph: one image in, channels first, and logits out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import drop_unused, read_by
from lightcl_host.graphs.operators import VIEW_OPERATORS

if TYPE_CHECKING:
    import onnx

_FLOAT, _UINT8 = 1, 2
_PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})
_AFTER = VIEW_OPERATORS | {"Cast", "QuantizeLinear", "DequantizeLinear", "ArgMax", "TopK"}
#: How exporters and people call the logits, the surest name first.
_LOGIT_NAMES = ("logits", "logit", "scores", "output", "y", "class", "probs", "prob")


def one_image_input(graph: onnx.GraphProto, where: str) -> bool:
    """Leave one float input of shape ``(batch, 3, height, width)``, in place; returns whether it took bytes.

    An input with channels last gets a transposition in front. ``where`` is the file's name for messages.

    Raises:
        UsageError: for several inputs, or an input that is no colour image.
    """
    weights = {tensor.name for tensor in graph.initializer}
    for info in [info for info in graph.input if info.name in weights]:
        graph.input.remove(info)
    used = {name for node in graph.node for name in read_by(node)}
    for info in [info for info in graph.input if info.name not in used]:
        graph.input.remove(info)
    if len(graph.input) != 1:
        names = [info.name for info in graph.input]
        raise UsageError(f"{where} has {len(names)} inputs {names[:4]}; expected one, the image")
    tensor = graph.input[0].type.tensor_type
    dims = [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim]
    if len(dims) != 4 or 3 not in (dims[1], dims[3]):
        raise UsageError(f"{where}: the input has shape {dims}; expected (batch, 3, height, width)")
    as_bytes = bool(tensor.elem_type == _UINT8)
    if tensor.elem_type not in (_FLOAT, _UINT8):
        raise UsageError(f"{where}: the input has ONNX type {tensor.elem_type}; expected float32 or uint8 pixels")
    tensor.elem_type = _FLOAT
    if dims[1] != 3:
        _channels_first(graph)
    return as_bytes


def _channels_first(graph: onnx.GraphProto) -> None:
    import onnx

    info = graph.input[0]
    sides = list(info.type.tensor_type.shape.dim)
    shape = onnx.TensorShapeProto()
    for place in (0, 3, 1, 2):
        shape.dim.add().CopyFrom(sides[place])
    inner = info.name
    info.name = f"{inner}.channels_first"
    info.type.tensor_type.shape.CopyFrom(shape)
    graph.node.insert(0, onnx.helper.make_node("Transpose", [info.name], [inner], perm=[0, 2, 3, 1]))


def one_output(graph: onnx.GraphProto, wanted: str | None, where: str) -> None:
    """Leave one output, the logits, in place: the tensor ``wanted``, else the one that looks like them.

    A softmax or sigmoid at the end is removed, whatever views and casts follow it: training needs the logits.

    Raises:
        UsageError: when there is no such tensor, or several outputs could be the logits.
    """
    import onnx

    makers = {name: node for node in graph.node for name in node.output}
    if wanted is not None:
        if wanted not in makers:
            known = [info.name for info in graph.output]
            raise UsageError(f"--output {wanted}: {where} has no such tensor; its outputs are {', '.join(known)}")
        info = onnx.ValueInfoProto(name=wanted)
        info.type.tensor_type.elem_type = _FLOAT
        del graph.output[:]
        graph.output.append(info)
    elif len(graph.output) > 1:
        info = _likely(list(graph.output), makers, where)
        del graph.output[:]
        graph.output.append(info)
    output = graph.output[0]
    logits = _before_probabilities(makers, output.name)
    if logits != output.name:
        output.name = logits
        output.type.tensor_type.elem_type = _FLOAT
        output.type.tensor_type.ClearField("shape")
    drop_unused(graph)


def _likely(outputs: list[onnx.ValueInfoProto], makers: dict[str, onnx.NodeProto], where: str) -> onnx.ValueInfoProto:
    if (
        len({_before_probabilities(makers, info.name) for info in outputs}) == 1
    ):  # such as probabilities and first class
        return outputs[0]
    vectors = [info for info in outputs if len(info.type.tensor_type.shape.dim) == 2] or outputs
    if len(vectors) == 1:
        return vectors[0]
    for word in _LOGIT_NAMES:
        named = [info for info in vectors if info.name.lower().rpartition("/")[2].split(":")[0] == word]
        if len(named) == 1:
            return named[0]
    names = ", ".join(info.name for info in outputs)
    raise UsageError(f"{where} has {len(outputs)} outputs: {names}; name the logits with --output NAME")


def _before_probabilities(makers: dict[str, onnx.NodeProto], output: str) -> str:
    name = output
    while (node := makers.get(name)) is not None and node.op_type in _AFTER | _PROBABILITIES:
        name = node.input[0]
        if node.op_type in _PROBABILITIES | {"QuantizeLinear", "ArgMax", "TopK"}:
            output = name
    return output
