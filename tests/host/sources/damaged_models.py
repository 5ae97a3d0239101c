"""Files that are nearly a network: a seeded mutator of ONNX models, in their bytes or in their meaning."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import onnx
from onnx import helper, numpy_helper

_SIDES = (0, 1, 2, 3, 5, 7, 64, -1, -7, 2**31, 2**40)
_KINDS = (
    "Relu", "Add", "Reshape", "Gather", "Softmax", "Conv", "Concat", "Split", "TopK", "Loop", "Shape", "NonZero",
    "LSTM", "Einsum", "Cast", "Unique", "QuantizeLinear", "DequantizeLinear", "Squeeze", "Pad", "Slice", "NoSuchKind",
)  # fmt: skip
_NUMBERS = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"))

Mutation = Callable[[random.Random, onnx.ModelProto], None]


def damaged(content: bytes, seed: int) -> bytes:
    """The file with one to four faults; equal seeds give equal files."""
    dice = random.Random(seed)
    if dice.random() < 0.15:
        return _damaged_bytes(dice, bytearray(content))
    model = onnx.load_from_string(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        with suppress(Exception):  # what was damaged before can't always be damaged again
            dice.choice(_MUTATIONS)(dice, model)
    return bytes(model.SerializeToString())


def _damaged_bytes(dice: random.Random, content: bytearray) -> bytes:
    if dice.random() < 0.3:
        return bytes(content[: dice.randrange(len(content))])
    for _ in range(dice.choice((1, 3, 20))):
        content[dice.randrange(len(content))] = dice.randrange(256)
    return bytes(content)


def _node(dice: random.Random, model: onnx.ModelProto) -> onnx.NodeProto:
    return dice.choice(model.graph.node) if model.graph.node else model.graph.node.add()


def _drop_node(dice: random.Random, model: onnx.ModelProto) -> None:
    model.graph.node.remove(_node(dice, model))


def _other_kind(dice: random.Random, model: onnx.ModelProto) -> None:
    _node(dice, model).op_type = dice.choice(_KINDS)


def _rewire(dice: random.Random, model: onnx.ModelProto) -> None:
    node = _node(dice, model)
    names = [name for other in model.graph.node for name in (*other.input, *other.output)] + ["", "nowhere"]
    if node.input:
        node.input[dice.randrange(len(node.input))] = dice.choice(names)


def _fewer_or_more_inputs(dice: random.Random, model: onnx.ModelProto) -> None:
    node = _node(dice, model)
    if node.input and dice.random() < 0.5:
        del node.input[dice.randrange(len(node.input)) :]
    else:
        node.input.append(dice.choice(["", "extra", *node.input]))


def _attribute(dice: random.Random, model: onnx.ModelProto) -> None:
    node = _node(dice, model)
    if not node.attribute:
        node.attribute.append(helper.make_attribute(dice.choice(["axis", "to", "perm", "group"]), dice.choice(_SIDES)))
        return
    entry = dice.choice(node.attribute)
    what = dice.randrange(4)
    if what == 0:
        node.attribute.remove(entry)
    elif what == 1:
        entry.CopyFrom(helper.make_attribute(entry.name, dice.choice([1.5, b"text", [1, 2], [-1] * 9])))
    elif entry.ints:
        entry.ints[dice.randrange(len(entry.ints))] = dice.choice(_SIDES)
    else:
        entry.i = dice.choice(_SIDES)


def _weight(dice: random.Random, model: onnx.ModelProto) -> None:
    if not model.graph.initializer:
        return
    tensor = dice.choice(model.graph.initializer)
    what = dice.randrange(6)
    if what == 0:
        model.graph.initializer.remove(tensor)
    elif what == 1 and tensor.dims:
        tensor.dims[dice.randrange(len(tensor.dims))] = dice.choice(_SIDES)
    elif what == 2:
        tensor.data_type = dice.randrange(0, 24)
    elif what == 3:
        values = np.array(numpy_helper.to_array(tensor))
        if values.size and values.dtype.kind == "f":
            values.reshape(-1)[dice.randrange(values.size)] = dice.choice(_NUMBERS)
        elif values.size and values.dtype.kind == "i":
            values.reshape(-1)[dice.randrange(values.size)] = dice.choice(_SIDES[:7])
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    elif what == 4:
        tensor.name = dice.choice(["", "other", *(node.output[0] for node in model.graph.node if node.output)])
    else:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = dice.choice(["absent.bin", "../../etc/hostname", "/etc/hostname", ""])
        tensor.external_data.add(key="location", value=place)


def _interface(dice: random.Random, model: onnx.ModelProto) -> None:
    infos = [*model.graph.input, *model.graph.output]
    if not infos:
        return
    info = dice.choice(infos)
    tensor = info.type.tensor_type
    what = dice.randrange(6)
    if what == 0:
        tensor.elem_type = dice.randrange(0, 24)
    elif what == 1 and tensor.shape.dim:
        tensor.shape.dim[dice.randrange(len(tensor.shape.dim))].dim_value = dice.choice(_SIDES[:9])
    elif what == 2:
        info.name = dice.choice(["", "other", *(node.output[0] for node in model.graph.node if node.output)])
    elif what == 3:
        info.type.ClearField("value")
    elif what == 4:
        tensor.ClearField("shape")
    else:
        dice.choice([model.graph.input, model.graph.output]).add().CopyFrom(info)


def _twice(dice: random.Random, model: onnx.ModelProto) -> None:
    node = onnx.NodeProto()
    node.CopyFrom(_node(dice, model))
    model.graph.node.insert(dice.randrange(len(model.graph.node) + 1), node)


def _header(dice: random.Random, model: onnx.ModelProto) -> None:
    what = dice.randrange(4)
    if what == 0:
        model.ir_version = dice.choice([0, 1, 3, 99])
    elif what == 1 and model.opset_import:
        model.opset_import[0].version = dice.choice([0, 1, 6, 9, 13, 23, 99])
    elif what == 2:
        del model.opset_import[:]
    else:
        model.opset_import.add(domain="some.vendor", version=1)
        _node(dice, model).domain = "some.vendor"


_MUTATIONS: tuple[Mutation, ...] = (
    _drop_node, _other_kind, _rewire, _fewer_or_more_inputs, _attribute, _attribute, _weight, _weight, _interface,
    _twice, _header,
)  # fmt: skip
