"""ShuffleNet's channel shuffles (Reshape, Transpose, Reshape) as Gathers, which work in either order of the axes."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lightcl_host.autodiff.layout import sides_of


def name_shuffled_channels(model: onnx.ModelProto) -> None:
    """Change a graph with static inferred shapes in place. Nodes that nothing reads any more are left."""
    graph, shapes = model.graph, sides_of(model.graph)
    makers = {name: node for node in graph.node for name in node.output}
    constants: dict[str, NDArray[np.int64]] = {}
    for node in graph.node:
        turn = makers.get(node.input[0], node) if node.op_type == "Reshape" else node
        split = makers.get(turn.input[0], node) if turn.op_type == "Transpose" else node
        if split.op_type != "Reshape" or split is node or list(turn.attribute[0].ints) != [0, 2, 1, 3, 4]:
            continue
        image, sides = shapes.get(split.input[0], []), shapes.get(turn.input[0], [])
        if len(image) != 4 or image != shapes.get(node.output[0]) or sides[3:] != image[2:] or sides[0] != image[0]:
            continue
        name = f"shuffle/{sides[1]}/{sides[2]}"
        constants[name] = np.arange(image[1]).reshape(sides[1], sides[2]).T.ravel()
        node.CopyFrom(helper.make_node("Gather", [split.input[0], name], list(node.output), axis=1))
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
