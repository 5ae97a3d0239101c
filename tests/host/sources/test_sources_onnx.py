"""ONNX files by other exporters, and graphs that are not what was expected."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lightcl_edge.errors import UsageError
from lightcl_host.cutting.cuts import find_cuts
from lightcl_host.graphs.runner import GraphRunner, relative_difference
from lightcl_host.sources.onnx_source import ForeignGraph
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import open_source
from small_networks import Residual


def make(path: Path, nodes: list, weights: dict, shape: list = (1, 3, 8, 8), opset: int = 13) -> Path:
    """An ONNX file with input x and output y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", "c"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By PyTorch's older exporter: opset 11, symbolic batch, batch norm kept, shapes computed in the graph."""
    path = tmp_path_factory.mktemp("legacy") / "legacy.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Residual(), (torch.zeros(1, 3, 16, 16),), str(path), dynamo=False, opset_version=11,
            training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
        )  # fmt: skip
    return path


def test_legacy_export_is_folded_and_named(legacy: Path) -> None:
    assert "BatchNormalization" in {node.op_type for node in onnx.load(legacy).graph.node}
    source = open_source(SourceOptions(str(legacy)))
    operators = {node.op_type for node in source.graph.graph.node}
    assert "BatchNormalization" not in operators and "Constant" not in operators
    assert [cut.name for cut in find_cuts(source.graph)][:6] == [
        "stem",
        "stage1.0",
        "stage1",
        "down",
        "stage2.0",
        "stage2",
    ]
    images = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    found = GraphRunner(source.graph)({"image": images}, ["logits"])["logits"]
    with torch.no_grad():
        assert relative_difference(found, Residual()(torch.from_numpy(images)).numpy()) < 1e-5
    assert relative_difference(found, source.reference(images)) < 1e-5


def test_legacy_export_keeps_batch_norm_for_baselines(legacy: Path) -> None:
    kept = open_source(SourceOptions(str(legacy))).with_batch_norm()
    assert sum(node.op_type == "BatchNormalization" for node in kept.graph.node) == 9
    onnx.checker.check_model(kept, full_check=True)


def test_batch_norm_before_a_convolution_becomes_scale_and_shift(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = {name: generator.uniform(0.5, 2, 3).astype(np.float32) for name in ("gamma", "beta", "mean", "var")}
    weights = {**vectors, "w": generator.normal(size=(12, 5)).astype(np.float32)}
    nodes = [
        helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    source = open_source(SourceOptions(str(make(tmp_path / "m.onnx", nodes, weights))))
    assert [node.op_type for node in source.graph.graph.node][:3] == ["Mul", "Add", "Relu"]
    assert source.graph.graph.node[-1].op_type == "Gemm"  # the softmax is gone, MatMul is a linear layer
    images = generator.normal(size=(2, 3, 8, 8)).astype(np.float32)
    found = GraphRunner(source.graph)({"image": images}, ["logits"])["logits"]
    assert relative_difference(found, source.reference(images)) < 1e-5


def test_images_that_influence_each_other_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "zero"], ["u"]),
        helper.make_node("ReduceMean", ["x"], ["i"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["u", "i"], ["s"]),
        helper.make_node("Gemm", ["s", "w"], ["y"]),
    ]
    weights = {"w": np.ones((3, 2), np.float32), "zero": np.array([0], np.int64)}
    with pytest.raises(UsageError, match="images of one batch influence each other: relative difference"):
        ForeignGraph(make(tmp_path / "free.onnx", nodes, weights, ["n", 3, 8, 8]), None).normal_form()
    with pytest.raises(UsageError, match=r"operator ReduceMean \(m\): it combines the images of a batch"):
        ForeignGraph(make(tmp_path / "fixed.onnx", nodes, weights), None).normal_form()


def linear(tmp_path: Path, shape: list) -> Path:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["m", "w"], ["y"]),
    ]
    return make(tmp_path / "m.onnx", nodes, {"w": np.ones((3, 2), np.float32)}, shape)


def test_an_open_image_size_must_be_given(tmp_path: Path) -> None:
    path = linear(tmp_path, ["n", 3, "h", "w"])
    with pytest.raises(UsageError, match="leaves the image size open; give it with --image-size"):
        ForeignGraph(path, None)
    assert (ForeignGraph(path, 24).height, ForeignGraph(path, 24).width) == (24, 24)
    with pytest.raises(UsageError, match="takes images of 8 pixels, found --image-size 9"):
        ForeignGraph(linear(tmp_path, [1, 3, 8, 8]), 9)


def test_files_that_are_no_classifier(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    for path, message in [
        (tmp_path / "text.onnx", "is not a readable ONNX model"),
        (tmp_path / "none.onnx", "no model at"),
        (linear(tmp_path, [1, 4, 8, 8]), r"shape \[1, 4, 8, 8\]; expected \(batch, 3, height, width\)"),
    ]:
        with pytest.raises(UsageError, match=message):
            ForeignGraph(path, None)
    with pytest.raises(UsageError, match="brings its own weights"):
        open_source(SourceOptions("m.onnx", "none"))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("best.pt", "--weights"),
        ("net.h5", "format='onnx'"),
        ("net.tflite", "tf2onnx"),
        ("net.pt2", "export the program"),
    ],
)
def test_files_of_other_kinds_get_advice(tmp_path: Path, name: str, advice: str) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError, match="no model at"):
        open_source(SourceOptions(str(path)))
    path.write_bytes(b"content")
    with pytest.raises(UsageError, match=f"is no .onnx file; .*{advice}"):
        open_source(SourceOptions(str(path)))
