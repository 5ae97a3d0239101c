"""Which constants of a head are trained, and that equal ones are trained apart."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lightcl_host.cutting.head_parameters import name_parameters
from lightcl_host.cutting.trainability import obstacle_from_image
from lightcl_host.graphs.graph import GraphView


def head(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: list[object]) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", *shape])
    result = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "head", [given], [result], stored))


ONES, ZEROS = np.ones(4, np.float32), np.zeros(4, np.float32)


def test_equal_scales_become_two() -> None:
    nodes = [
        helper.make_node("LayerNormalization", ["features", "ones", "zeros"], ["a"]),
        helper.make_node("LayerNormalization", ["a", "ones", "zeros"], ["b"]),
    ]
    model = head(nodes, {"ones": ONES, "zeros": ZEROS}, [5, 4])
    shapes = name_parameters(model)
    assert shapes == {
        "layer_0.weight": (4,),
        "layer_0.bias": (4,),
        "layer_1.weight": (4,),
        "layer_1.bias": (4,),
    }
    assert [list(node.input) for node in model.graph.node] == [
        ["features", "layer_0.weight", "layer_0.bias"],
        ["a", "layer_1.weight", "layer_1.bias"],
    ]
    stored = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    assert all((stored[name] == (1 if name.endswith("weight") else 0)).all() for name in shapes)


def test_vectors_are_trained_and_masks_tables_and_numbers_are_not() -> None:
    nodes = [
        helper.make_node("Mul", ["features", "scale"], ["a"]),
        helper.make_node("Add", ["a", "shift"], ["b"]),
        helper.make_node("Add", ["b", "table"], ["c"]),
        helper.make_node("Mul", ["c", "number"], ["d"]),
    ]
    constants = {
        "scale": np.full((1, 4), 2, np.float32),
        "shift": ZEROS,
        "table": np.ones((5, 4), np.float32),
        "number": np.float32(0.5),
    }
    model = head(nodes, constants, [5, 4])
    assert name_parameters(model) == {"layer_0.weight": (1, 4), "layer_1.bias": (4,)}


def test_a_group_normalisation_in_parts_has_one_scale() -> None:
    """Exporters normalise groups with scale 1 and bias 0 first."""
    nodes = [
        helper.make_node("InstanceNormalization", ["features", "ones", "zeros"], ["a"]),
        helper.make_node("Mul", ["a", "scale"], ["b"]),
    ]
    constants = {"ones": ONES, "zeros": ZEROS, "scale": np.full((4, 1), 3, np.float32)}
    assert name_parameters(head(nodes, constants, [4, 6])) == {"layer_1.weight": (4, 1)}


def test_obstacles_are_named() -> None:
    def obstacle(kind: str, *inputs: str, **attributes: object) -> str:
        nodes = [
            helper.make_node(kind, ["features", *inputs], ["a"], **attributes),
            helper.make_node("Gemm", ["a", "w"], ["logits"]),
        ]
        constants = {"w": np.ones((4, 2), np.float32), "vector": ONES}
        return obstacle_from_image(GraphView(head(nodes, constants, [4])))

    assert obstacle("Sin") == "operator Sin (a) is outside the trainable list"
    assert obstacle("Pow", "features") == "operator Pow (a) has an exponent that depends on the image"
    assert obstacle("Max", "vector", "vector") == "operator Max (a) compares more than two tensors"
    assert obstacle("MatMul", "vector") == "operator MatMul (a) multiplies a vector"
    assert obstacle("LeakyRelu", alpha=-0.5) == "operator LeakyRelu (a) has a slope below zero"
    assert obstacle("Pad", "vector", mode="reflect") == "operator Pad (a) pads with more than a constant"
    assert obstacle("LeakyRelu", alpha=0.5) == ""
