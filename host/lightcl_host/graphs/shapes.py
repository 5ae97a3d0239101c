"""Shapes of all tensors of a graph, for any number of images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.graph import BATCH, replace_all

if TYPE_CHECKING:
    import onnx

#: Shape inference reads the values of small constants only: targets of reshapes, axes, bounds of slices.
_SMALL = 1024
_TRIED = (2, 3)
#: How the onnx library begins each of its reasons.
_FAULT = re.compile(r"\(op_type:(\w+)(?:, node name: ([^)]*))?\): \[\w+\] (.*)")

Dims = tuple[int, ...]


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with the shapes of all its tensors, found anew; changed in place.

    The shapes for two and for three images tell how each side grows. A side that counts the images becomes ``batch``,
    one that counts k of something for each image ``k*batch``. Raises UsageError, which names the operator whose inputs
    do not fit.
    """
    import onnx

    light = without_weights(model)
    two, three = (dims_at(light, count) for count in _TRIED)
    types = {info.name: info.type.tensor_type.elem_type for info in _known_infos(light)}
    outputs = {info.name: info for info in model.graph.output}
    inputs = {info.name for info in light.graph.input}
    del model.graph.value_info[:]
    for name, few in two.items():
        if name in inputs or name not in three or len(three[name]) != len(few):
            continue
        sides = [_side(*pair) for pair in zip(few, three[name], strict=True)]
        info = onnx.helper.make_tensor_value_info(name, types[name], sides)
        if name in outputs:
            outputs[name].type.CopyFrom(info.type)
        else:
            model.graph.value_info.append(info)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    return model


def _side(two: int, three: int) -> int | str | None:
    if two == three:
        return two
    each = three - two
    if two != 2 * each:
        return None
    return BATCH if each == 1 else f"{each}*{BATCH}"


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large constants as inputs, so that shape inference has little to copy; types are inferred."""
    import onnx

    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = "shapes"
    graph.node.extend(model.graph.node)
    graph.input.append(model.graph.input[0])
    for info in model.graph.output:
        graph.output.add(name=info.name).type.tensor_type.elem_type = info.type.tensor_type.elem_type
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims, dtype=np.int64) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return light


def dims_at(light: onnx.ModelProto, batch: int) -> dict[str, Dims]:
    """Tensor -> shape with this many images, where it is known. The model is left with these shapes.

    Raises UsageError, which names the operator whose inputs do not fit.
    """
    import onnx

    dim = light.graph.input[0].type.tensor_type.shape.dim[0]
    dim.dim_value = batch
    del light.graph.value_info[:]
    for output in light.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        found = onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise UsageError(f"the network's shapes do not fit together: {fault(error)}") from error
    replace_all(light.graph.value_info, found.graph.value_info)
    replace_all(light.graph.output, found.graph.output)
    return {
        info.name: tuple(side.dim_value for side in info.type.tensor_type.shape.dim)
        for info in _known_infos(found)
        if info.type.tensor_type.HasField("shape")
        and all(side.HasField("dim_value") for side in info.type.tensor_type.shape.dim)
    }


def set_batch(model: onnx.ModelProto, batch: int) -> NDArray[np.generic]:
    """Fix the number of images in place; returns as many images of noise, of the input's shape and type."""
    import onnx

    tensor = model.graph.input[0].type.tensor_type
    tensor.shape.dim[0].dim_value = batch
    sides = [dim.dim_value for dim in tensor.shape.dim]
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    noise = np.random.default_rng(0)
    if kind.kind in "iu":
        return noise.integers(0, 128, sides).astype(kind)
    return noise.normal(size=sides).astype(kind)


def _known_infos(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*model.graph.input, *model.graph.value_info, *model.graph.output]


def fault(error: Exception) -> str:
    """The first operator that the onnx library blames, and what it says of it."""
    found = _FAULT.search(str(error))
    if found is None:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"operator {found[1]} ({found[2] or 'without a name'}): {found[3]}"
