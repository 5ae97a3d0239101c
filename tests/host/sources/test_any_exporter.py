"""Files as exporters of all kinds write them: each becomes the same network for any number of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lightcl_edge.errors import UsageError
from lightcl_host.cutting.cuts import find_cuts
from lightcl_host.graphs.graph import GraphView
from lightcl_host.graphs.runner import GraphRunner, relative_difference
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import Source, open_source

SIDE = 8
KERNEL = np.random.default_rng(0).normal(size=(6, 3, 4, 4)).astype(np.float32)
DENSE = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
DENSE_TOO = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)
STEM = [
    helper.make_node("Conv", ["x", "kernel"], ["c"], strides=[4, 4]),
    helper.make_node("Relu", ["c"], ["r"]),
]
POOLED = [*STEM, helper.make_node("GlobalAveragePool", ["r"], ["g"]), helper.make_node("Flatten", ["g"], ["f"])]


def saved(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: Sequence[int | str] = ("n", 3, SIDE, SIDE),
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    kinds: Mapping[str, int] | None = None,
) -> str:
    last = (kinds or {}).get(nodes[-1].op_type, TensorProto.FLOAT)  # of the outputs
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(name, last, ["b", "c"]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in {"kernel": KERNEL, "dense": DENSE, **weights}.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return str(path)


def opened(path: str, **options: object) -> Source:
    """The source, after its graph was found to answer as the file does."""
    source = open_source(SourceOptions(path, **options))  # type: ignore[arg-type]
    images = np.random.default_rng(3).normal(size=(3, 3, SIDE, SIDE)).astype(np.float32)
    found = GraphRunner(source.graph)({"image": images}, ["logits"])["logits"]
    assert relative_difference(found, source.reference(images)) < 1e-5
    return source


@pytest.mark.parametrize(
    "end",
    [
        [("Softmax", "z", "p"), ("Identity", "p", "y")],
        [("Sigmoid", "z", "y")],
        [("Identity", "z", "i"), ("LogSoftmax", "i", "y")],
        [("Identity", "z", "y")],
        [("Softmax", "z", "p"), ("Flatten", "p", "y")],
        [("Unsqueeze", "z", "u"), ("Softmax", "u", "p"), ("Squeeze", "p", "y")],
        [("Softmax", "z", "p"), ("Cast", "p", "y")],
    ],
)
def test_logits_are_found_before_probabilities(tmp_path: Path, end: list[tuple[str, str, str]]) -> None:
    nodes = [*POOLED, helper.make_node("MatMul", ["f", "dense"], ["z"])]
    more = {"Cast": {"to": TensorProto.FLOAT16}}
    axes = {"Squeeze": ["last"], "Unsqueeze": ["last"]}
    nodes += [helper.make_node(kind, [a, *axes.get(kind, [])], [b], **more.get(kind, {})) for kind, a, b in end]
    source = opened(saved(tmp_path / "m.onnx", nodes, {"last": np.array([2])}, kinds={"Cast": TensorProto.FLOAT16}))
    assert source.graph.graph.node[-1].op_type == "Gemm"
    assert find_cuts(source.graph)[-1].trainable


def test_probabilities_and_the_first_class_are_the_same_logits(tmp_path: Path) -> None:
    nodes = [*POOLED, helper.make_node("MatMul", ["f", "dense"], ["z"]), helper.make_node("Softmax", ["z"], ["p"]),
             helper.make_node("TopK", ["p", "few"], ["best", "which"])]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, {"few": np.array([2])}, outputs=["p", "best"])
    assert np.allclose(opened(path).reference(np.zeros((1, 3, SIDE, SIDE), np.float32)), 0, atol=1e-6)


def test_two_averaged_classifiers_are_one(tmp_path: Path) -> None:
    nodes = [
        *POOLED,
        helper.make_node("MatMul", ["f", "dense"], ["a"]),
        helper.make_node("MatMul", ["f", "dense_too"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Div", ["s", "two"], ["y"]),
    ]
    source = opened(saved(tmp_path / "m.onnx", nodes, {"dense_too": DENSE_TOO, "two": np.float32([2])}))
    last = source.graph.graph.node[-1]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.graph.initializer}
    assert last.op_type == "Gemm"
    assert np.allclose(weights[last.input[1]], (DENSE + DENSE_TOO).T / 2, atol=1e-6)


@pytest.mark.parametrize("relu", [False, True])
def test_a_convolution_as_classifier(tmp_path: Path, relu: bool) -> None:
    nodes = [
        *STEM,
        helper.make_node("Conv", ["r", "points"], ["k"]),
        *([helper.make_node("Relu", ["k"], ["m"])] if relu else [helper.make_node("Identity", ["k"], ["m"])]),
        helper.make_node("GlobalAveragePool", ["m"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    source = opened(saved(tmp_path / "m.onnx", nodes, {"points": DENSE.T.reshape(5, 6, 1, 1)}))
    assert source.graph.graph.node[-1].op_type == "Gemm"
    # after a ReLU the end is not linear: the convolution stays, and a layer that changes nothing follows
    assert sum(node.op_type == "Conv" for node in source.graph.graph.node) == (2 if relu else 1)


def test_several_outputs_need_a_name(tmp_path: Path) -> None:
    nodes = [
        *POOLED,
        helper.make_node("MatMul", ["f", "dense"], ["one"]),
        helper.make_node("MatMul", ["f", "dense_too"], ["other"]),
    ]
    path = saved(tmp_path / "m.onnx", nodes, {"dense_too": DENSE_TOO}, outputs=["one", "other"])
    with pytest.raises(UsageError, match="2 outputs: one, other; name the logits with --output NAME"):
        open_source(SourceOptions(path))
    with pytest.raises(UsageError, match=r"--output third: .* has no such tensor; its outputs are one, other"):
        open_source(SourceOptions(path, output="third"))
    weights = opened(path, output="other").graph.graph.initializer
    assert any(tensor.dims == [5, 6] or tensor.dims == [6, 5] for tensor in weights)


def test_channels_last_and_bytes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "kernel"], ["c"], strides=[4, 4]),
        *POOLED[1:],
        helper.make_node("MatMul", ["f", "dense"], ["y"]),
    ]
    path = saved(tmp_path / "m.onnx", nodes, {}, (1, SIDE, SIDE, 3), kind=TensorProto.UINT8)
    source = opened(path)
    assert "Transpose" not in {node.op_type for node in source.graph.graph.node}
    assert source.input_info.std == [1 / 255] * 3 and source.input_info.mean == [0.0] * 3


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_a_class_token_joins_each_image(tmp_path: Path, batch: int | str) -> None:
    """Free, fixed to one and fixed to four, as exporters write them."""
    count = 1 if batch == "n" else int(batch)
    token = np.random.default_rng(4).normal(size=(1, 1, 6)).astype(np.float32)
    nodes = [*STEM]
    weights = {"token": token, "zero": np.array(0), "one": np.array([1]), "rest": np.array([-1, 6, 4][1:])}
    if batch == "n":
        nodes += [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "zero"], ["count"]),
            helper.make_node("Reshape", ["count", "one"], ["images"]),
            helper.make_node("Concat", ["images", "rest"], ["target"], axis=0),
            helper.make_node("Concat", ["images", "sides"], ["spread"], axis=0),
            helper.make_node("Expand", ["token", "spread"], ["tokens"]),
        ]
        weights["sides"] = np.array([1, 6])
    else:
        weights |= {"target": np.array([count, 6, 4]), "tokens": np.repeat(token, count, axis=0)}
    nodes += [
        helper.make_node("Reshape", ["r", "target"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["tokens", "t"], ["all"], axis=1),
        helper.make_node("Softmax", ["all"], ["mixed"], axis=1),
        helper.make_node("Gather", ["mixed", "zero"], ["first"], axis=1),
        helper.make_node("MatMul", ["first", "dense"], ["y"]),
    ]
    source = opened(saved(tmp_path / "m.onnx", nodes, weights, (batch, 3, SIDE, SIDE)))
    assert not {"Shape", "Expand", "Concat"} & {node.op_type for node in source.graph.graph.node}
    shapes = {cut.name: cut.shape for cut in find_cuts(source.graph)}
    assert shapes["all"] == (5, 6) and shapes["first"] == (6,)


def test_attention_with_heads_in_the_batch_axis(tmp_path: Path) -> None:
    """As PyTorch's MultiheadAttention is exported for one image: images along the second axis, then beside heads."""
    nodes = [
        *STEM,
        helper.make_node("Reshape", ["r", "flat"], ["q"]),
        helper.make_node("Transpose", ["q"], ["s"], perm=[2, 0, 1]),  # tokens, images, channels
        helper.make_node("Reshape", ["s", "heads"], ["h"]),
        helper.make_node("Transpose", ["h"], ["k"], perm=[1, 0, 2]),
        helper.make_node("Transpose", ["h"], ["v"], perm=[1, 2, 0]),
        helper.make_node("MatMul", ["k", "v"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "k"], ["m"]),
        helper.make_node("Transpose", ["m"], ["back"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["back", "joined"], ["j"]),
        helper.make_node("ReduceMean", ["j"], ["f"], axes=[0], keepdims=0),
        helper.make_node("MatMul", ["f", "dense"], ["y"]),
    ]
    weights = {"flat": np.array([1, 6, 4]), "heads": np.array([4, 2, 3]), "joined": np.array([4, 1, 6])}
    source = opened(saved(tmp_path / "m.onnx", nodes, weights, (1, 3, SIDE, SIDE)))
    view = GraphView(source.graph)
    scores = next(node for node in source.graph.graph.node if node.op_type == "Softmax").input[0]
    assert view.dims[scores] == (2, 4, 4) and scores not in view.shapes  # two heads an image beside the batch


def test_float16_is_read_as_float32(tmp_path: Path) -> None:
    nodes = [*POOLED, helper.make_node("MatMul", ["f", "dense"], ["y"])]
    weights = {"kernel": KERNEL.astype(np.float16), "dense": DENSE.astype(np.float16)}
    path = tmp_path / "m.onnx"
    source = opened(saved(path, nodes, weights, kind=TensorProto.FLOAT16))
    assert all(tensor.data_type != TensorProto.FLOAT16 for tensor in source.graph.graph.initializer)
    assert any("float32" in note for note in source.notes)


@pytest.mark.parametrize(("divisor", "std"), [(255.0, 1 / 255), (1.0, 1.0)])
def test_preprocessing_inside_the_file_is_found_and_said(tmp_path: Path, divisor: float, std: float) -> None:
    nodes = [
        helper.make_node("Div", ["x", "largest"], ["d"]),
        helper.make_node("Sub", ["d", "mean"], ["s"]),
        helper.make_node("Conv", ["s", "kernel"], ["c"], strides=[4, 4]),
        *POOLED[1:],
        helper.make_node("MatMul", ["f", "dense"], ["y"]),
    ]
    mean = np.float32([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1)
    source = opened(saved(tmp_path / "m.onnx", nodes, {"largest": np.float32(divisor), "mean": mean}))
    assert source.input_info.std == pytest.approx([std] * 3) and source.input_info.mean == [0.0] * 3
    assert "expects pixels in 0.." in " ".join(source.notes) and "mean" not in source.assumed


def test_preprocessing_is_found_behind_a_swap_of_red_and_blue(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["x", "blue_first"], ["b"], axis=1),
        helper.make_node("Sub", ["b", "mean"], ["s"]),
        helper.make_node("Conv", ["s", "kernel"], ["c"], strides=[4, 4]),
        *POOLED[1:],
        helper.make_node("MatMul", ["f", "dense"], ["y"]),
    ]
    mean = np.float32([103.9, 116.8, 123.7]).reshape(1, 3, 1, 1)
    source = opened(saved(tmp_path / "m.onnx", nodes, {"blue_first": np.array([2, 1, 0]), "mean": mean}))
    assert source.input_info.std == pytest.approx([1 / 255] * 3) and "0..255" in source.notes[0]


def test_normalisation_that_nothing_says_is_named_as_assumed(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [*POOLED, helper.make_node("MatMul", ["f", "dense"], ["y"])], {})
    source = opened(path)
    assert {"mean", "std", "crop_ratio"} <= set(source.assumed)
    assert "assumed: --mean 0.485,0.456,0.406, --std" in " ".join(source.notes)
    stated = open_source(SourceOptions(path, mean=(127.0,) * 3, std=(128.0,) * 3, scale=255.0))
    assert stated.input_info.mean == pytest.approx([127 / 255] * 3) and not {"mean", "std"} & set(stated.assumed)


@pytest.mark.parametrize("opset", [9, 11, 13, 21])
def test_opsets(tmp_path: Path, opset: int) -> None:
    source = opened(
        saved(
            tmp_path / "m.onnx",
            [*POOLED, helper.make_node("Gemm", ["f", "dense", "bias"], ["y"])],
            {"bias": DENSE[0]},
            opset=opset,
        )
    )
    assert source.graph.opset_import[0].version == 20


def test_a_branch_with_a_constant_condition_is_taken(tmp_path: Path) -> None:
    """PyTorch's older exporter writes a squeeze so."""
    branches = {}
    for name, kind in (("then", "Identity"), ("else", "Neg")):
        output = helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, None)
        node = helper.make_node(kind, ["m"], [f"{name}.out"])
        branches[f"{name}_branch"] = helper.make_graph([node], name, [], [output])
    nodes = [
        *POOLED,
        helper.make_node("MatMul", ["f", "dense"], ["m"]),
        helper.make_node("If", ["yes"], ["y"], **branches),
    ]
    source = opened(saved(tmp_path / "m.onnx", nodes, {"yes": np.array(True)}))
    assert "If" not in {node.op_type for node in source.graph.graph.node}


def test_the_true_reason_is_told(tmp_path: Path) -> None:
    nodes = [*POOLED, helper.make_node("MatMul", ["f", "short"], ["y"])]
    for batch in ("n", 1):
        with pytest.raises(UsageError) as caught:
            opened(saved(tmp_path / "m.onnx", nodes, {"short": DENSE[:4]}, (batch, 3, SIDE, SIDE)))
        assert "does not run in onnxruntime: Node" in str(caught.value)
        assert "Incompatible dimensions" in str(caught.value) and "batch axis" not in str(caught.value)
    with pytest.raises(UsageError, match=r"has shape .* for one image; expected a vector of logits"):
        opened(saved(tmp_path / "m.onnx", [*STEM[:1], helper.make_node("Relu", ["c"], ["y"])], {}))
