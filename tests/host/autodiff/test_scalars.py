"""Operations with one number give the same results where they are taken as one row."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lightcl_host.autodiff.scalars import flatten_scalar_operations


def model_of(kind: str, shape: list[int], number: list[int], *, first: bool) -> onnx.ModelProto:
    order = ["number", "x"] if first else ["x", "number"]
    boolean = kind in ("Greater", "Equal", "LessOrEqual")
    result = helper.make_tensor_value_info("y", TensorProto.BOOL if boolean else TensorProto.FLOAT, None)
    value = numpy_helper.from_array(np.full(number, 0.5, np.float32), "number")
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node(kind, ["a" if n == "x" else n for n in order], ["b"]),
    ]
    nodes.append(helper.make_node("Identity", ["b"], ["y"]))
    graph = helper.make_graph(nodes, "scalars", given, [result], [value])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("number", [[], [1], [1, 1, 1, 1]])
@pytest.mark.parametrize("kind", ["Mul", "Sub", "Div", "Pow", "Greater", "Equal"])
def test_same_results(kind: str, number: list[int], first: bool) -> None:
    model = model_of(kind, [47, 64, 1, 1], number, first=first)
    x = np.random.default_rng(0).standard_normal((47, 64, 1, 1)).astype(np.float32)
    expected = run(model, x)
    flatten_scalar_operations(model)
    assert [node.op_type for node in model.graph.node] == ["Abs", "Reshape", kind, "Reshape", "Identity"]
    found = run(model, x)
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("shape", "number"),
    [([47, 64, 1, 2], []), ([2, 64, 1, 1], []), ([47, 64, 1], [1, 1, 1, 1])],
    ids=["last side of two", "few elements", "a result of higher rank"],
)
def test_left_alone(shape: list[int], number: list[int]) -> None:
    model = model_of("Mul", shape, number, first=False)
    flatten_scalar_operations(model)
    assert [node.op_type for node in model.graph.node] == ["Abs", "Mul", "Identity"]
