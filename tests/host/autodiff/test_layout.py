"""Images may change their order of axes inside a step, its results may not."""

import math

import numpy as np
import onnx
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from lightcl_host.autodiff.layout import CHANNELS_FIRST, save_transposes
from lightcl_host.autodiff.shuffles import name_shuffled_channels

#: Input images by shape: whole ones, and those that spread over them.
INPUTS = {"a": (3, 4, 2, 5), "b": (3, 4, 2, 5), "bias": (1, 4, 1, 1), "gate": (3, 4, 1, 1), "row": (5,)}
LISTS = {"space": [2, 3], "per_filter": [0, 2, 3], "all": [0, 1, 2, 3], "zero": [0], "two": [2], "axis": [0]}
LISTS |= {
    "pads": [0, 1, 0, 0, 1, 0, 0, 2],
    "line": [2, 5],
    "apart": [3, 4, 10],
    "back": [3, 4, 2, 5],
    "some": [5, 0, 7, 2],
}
LISTS |= {"groups": [3, 2, 2, 2, 5]}
WHOLE = (3, 4, 2, 5)


def model_of(steps: list[tuple[str, int, int]]) -> onnx.ModelProto:
    """A graph from a list of an operator and which of the images made so far it reads."""
    nodes, images, results = [], list(INPUTS)[:2], []
    for number, (kind, first, second) in enumerate(steps):
        one, two, made = images[first % len(images)], images[second % len(images)], f"t{number}"
        if kind in ("Add", "Mul", "Sub"):
            nodes.append(helper.make_node(kind, [one, two], [made]))
        elif kind in INPUTS:
            nodes.append(helper.make_node("Mul", [one, kind], [made]))
        elif kind == "turned":  # through a product of planes
            nodes.append(helper.make_node("Transpose", [one], [made + "p"], perm=CHANNELS_FIRST))
            nodes.append(helper.make_node("CumSum", [made + "p", "one"], [made + "q"]))
            nodes.append(helper.make_node("Transpose", [made + "q"], [made], perm=CHANNELS_FIRST))
        elif kind == "rows":  # of an order that matters
            nodes.append(helper.make_node("Reshape", [one, "apart"], [made + "r"]))
            nodes.append(helper.make_node("CumSum", [made + "r", "one"], [made + "s"]))
            nodes.append(helper.make_node("Reshape", [made + "s", "back"], [made]))
        elif kind == "sliced":
            nodes.append(helper.make_node("Slice", [one, "zero", "two", "axis"], [made + "s"]))
            nodes.append(helper.make_node("ReduceSum", [made + "s", "all"], [made], keepdims=0))
        elif kind == "sliced as tf2onnx writes it":  # its four lists are of one type, int32
            nodes.append(helper.make_node("Slice", [one, "zero32", "two32", "last32"], [made]))
        elif kind == "spread":
            nodes.append(helper.make_node("ReduceMean", [one, "space"], [made + "m"], keepdims=1))
            nodes.append(helper.make_node("Expand", [made + "m", "back" if second % 2 else "line"], [made]))
        elif kind == "padded":
            nodes.append(helper.make_node("Pad", [one, "pads"], [made]))
        elif kind == "joined":
            nodes.append(helper.make_node("Concat", [one, two], [made + "c"], axis=1))
            nodes.append(helper.make_node("Gather", [made + "c", "some"], [made], axis=1))
        elif kind == "shuffled":
            nodes.append(helper.make_node("Reshape", [one, "groups"], [made + "g"]))
            nodes.append(helper.make_node("Transpose", [made + "g"], [made + "t"], perm=[0, 2, 1, 3, 4]))
            nodes.append(helper.make_node("Reshape", [made + "t", "back"], [made]))
        elif kind == "flat":
            nodes.append(helper.make_node("ReduceMean", [one, "space"], [made], keepdims=0))
        elif kind in ("all", "per_filter"):
            nodes.append(helper.make_node("ReduceSum", [one, kind], [made], keepdims=0))
        elif kind == "space":
            nodes.append(helper.make_node("ReduceMean", [one, kind], [made], keepdims=1))
        else:
            nodes.append(helper.make_node(kind, [one], [made]))
        if kind in ("sliced as tf2onnx writes it", "padded", "all", "per_filter", "space", "flat", "sliced"):
            results.append(made)
        else:
            images.append(made)
    nodes.append(helper.make_node("Identity", [images[-1]], ["last"]))
    outputs = [*results, "last"]
    lists = [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in LISTS.items()]
    lists.append(numpy_helper.from_array(np.array(1, np.int64), "one"))
    small = {"zero32": [0], "two32": [2], "last32": [-3]}
    lists.extend(numpy_helper.from_array(np.array(values, np.int32), name) for name, values in small.items())
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in INPUTS.items()]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", inputs, values, lists)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def results(model: onnx.ModelProto) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    given_values = {name: random.standard_normal(shape).astype(np.float32) for name, shape in INPUTS.items()}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {value.name: given_values[value.name] for value in session.get_inputs()})


def moved(model: onnx.ModelProto) -> int:
    """Numbers of whole images that Transpose nodes move."""
    inferred = shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: math.prod(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.output)
    }
    size = math.prod(WHOLE)
    return sum(sizes[node.output[0]] >= size for node in model.graph.node if node.op_type == "Transpose")


KINDS = ["Add", "Mul", "Sub", "Relu", "bias", "gate", "row", "turned", "rows", "sliced", "padded", "all"]
KINDS += [
    "sliced as tf2onnx writes it",
    "spread",
    "per_filter",
    "space",
    "Sigmoid",
    "HardSwish",
    "joined",
    "shuffled",
    "flat",
]
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=14)


@given(STEPS)
@settings(max_examples=120, deadline=None)
def test_results_stay_and_no_more_is_moved(steps: list[tuple[str, int, int]]) -> None:
    model = model_of(steps)
    expected, before = results(model), moved(model)
    name_shuffled_channels(model)
    save_transposes(model, [])
    onnx.checker.check_model(model, full_check=True)
    for found, wanted in zip(results(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert moved(model) <= before


def test_between_products_of_planes_nothing_is_moved() -> None:
    model = model_of(
        [("turned", 0, 0), ("Relu", 2, 0), ("bias", 3, 0), ("turned", 4, 0), ("Add", 5, 3), ("turned", 6, 0)]
    )
    assert moved(model) == 6
    save_transposes(model, [])
    assert moved(model) == 2, "one where the image enters, one where it leaves"
