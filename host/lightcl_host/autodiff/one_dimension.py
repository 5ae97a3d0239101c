"""Convolutions over one axis, written as convolutions of images of one row."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

_AXIS = "one_dimension/axis"


def rows_of_one(model: onnx.ModelProto) -> None:
    """Rewrite each convolution whose kernel is given and has one axis, in place; tensors keep their names."""
    graph, nodes = model.graph, list[onnx.NodeProto]()
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.input}
    ranks |= {value.name: len(value.dims) for value in graph.initializer}
    for node in graph.node:
        if node.op_type != "Conv" or ranks.get(node.input[1]) != 3:
            nodes.append(node)
            continue
        result = node.output[0]
        image, kernel, made = (f"{result}/{part}" for part in ("image", "kernel", "row"))
        nodes.append(helper.make_node("Unsqueeze", [node.input[0], _AXIS], [image]))
        nodes.append(helper.make_node("Unsqueeze", [node.input[1], _AXIS], [kernel]))
        given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        for name in ("kernel_shape", "strides", "dilations"):
            if name in given:
                given[name] = [1, *given[name]]
        if "pads" in given:
            given["pads"] = [0, given["pads"][0], 0, given["pads"][1]]
        nodes.append(helper.make_node("Conv", [image, kernel, *node.input[2:]], [made], **given))
        nodes.append(helper.make_node("Squeeze", [made, _AXIS], [result]))
    if len(nodes) > len(graph.node):
        graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), _AXIS))
        del graph.node[:]
        graph.node.extend(nodes)
