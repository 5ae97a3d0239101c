"""ShuffleNet's channel shuffles (Reshape, Transpose, Reshape) as Gathers, which work in either order of the axes."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

_ORDER = [0, 2, 1, 3, 4]


def name_shuffled_channels(model: onnx.ModelProto) -> None:
    """Replace shuffles by Gathers in a graph with static inferred shapes, in place; what they leave is not removed."""
    graph = model.graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    makers = {name: node for node in graph.node for name in node.output}
    constants: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
    for node in graph.node:
        turn = makers.get(node.input[0]) if node.op_type == "Reshape" else None
        if turn is None or turn.op_type != "Transpose" or list(turn.attribute[0].ints) != _ORDER:
            continue
        split = makers.get(turn.input[0], node)
        image = shapes.get(split.input[0], []) if split.op_type == "Reshape" else []
        sides = shapes.get(turn.input[0], [])
        if len(image) != 4 or image != shapes.get(node.output[0]) or [sides[0], *sides[3:]] != [image[0], *image[2:]]:
            continue
        name = f"shuffle/{sides[1]}/{sides[2]}"
        constants[name] = np.arange(image[1]).reshape(sides[1], sides[2]).T.ravel()
        node.CopyFrom(helper.make_node("Gather", [split.input[0], name], list(node.output), axis=1))
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
