"""Operations with one number give the same results where they are taken as one row."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lightcl_host.autodiff.scalars import flatten_scalar_operations


@pytest.mark.parametrize("shape", [[47, 64, 1, 1], [47, 64, 1, 2], [2, 64, 1, 1]])
@pytest.mark.parametrize("number", [[], [1], [1, 1, 1, 1]])
@pytest.mark.parametrize(("kind", "inputs"), [("Mul", "an"), ("Sub", "na"), ("Greater", "an")])
def test_same_results(kind: str, inputs: str, number: list[int], shape: list[int]) -> None:
    result = helper.make_tensor_value_info("y", TensorProto.BOOL if kind == "Greater" else TensorProto.FLOAT, None)
    nodes = [helper.make_node(*each) for each in (("Abs", ["x"], ["a"]), (kind, list(inputs), ["b"]))]
    nodes.append(helper.make_node("Identity", ["b"], ["y"]))
    value = numpy_helper.from_array(np.full(number, 0.5, np.float32), "n")
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "scalars", given, [result], [value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    x = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    found = [onnxruntime.InferenceSession(model.SerializeToString()).run(None, x)[0]]
    flatten_scalar_operations(model)
    found.append(onnxruntime.InferenceSession(model.SerializeToString()).run(None, x)[0])
    assert np.array_equal(*found)
    assert ("Reshape" in [node.op_type for node in model.graph.node]) == (shape == [47, 64, 1, 1])
