"""Files in eight bits: the float network that they stand for, and the trunk that keeps the bits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from test_any_exporter import KERNEL, SIDE, saved

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.graph_names import FEATURES, IMAGE
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.cli import main
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import split_graph
from lightcl_host.graphs.runner import GraphRunner, relative_difference
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import Source, open_source
from lightcl_host.trunks.kept_int8 import keep_quantisation
from small_bundle import make_folder

GENERATOR = np.random.default_rng(5)
SCALES = GENERATOR.uniform(0.01, 0.02, 6).astype(np.float32)
STORED = GENERATOR.integers(-127, 127, KERNEL.shape).astype(np.int8)
BIAS = GENERATOR.integers(-900, 900, 6).astype(np.int32)
STEP, AFTER, END = np.float32(0.02), np.float32(0.25), np.float32(0.1)
CONSTANTS = {
    "step": STEP, "zero": np.uint8(128), "after": AFTER, "none": np.uint8(0), "stored": STORED, "scales": SCALES,
    "bias": BIAS, "bias.scales": STEP * SCALES, "end": END,
}  # fmt: skip
LAST = [helper.make_node("GlobalAveragePool", ["d"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "dense"], ["y"])]  # fmt: skip


def pair(source: str, result: str, scale: str, zero: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{result}.q"]),
        helper.make_node("DequantizeLinear", [f"{result}.q", scale, zero], [result]),
    ]


def quantised_pairs() -> list[onnx.NodeProto]:
    """As onnxruntime's quantiser writes a convolution with a ReLU, which it leaves out."""
    return [
        *pair("x", "xd", "step", "zero"),
        helper.make_node("DequantizeLinear", ["stored", "scales"], ["real"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "bias.scales"], ["b"], axis=0),
        helper.make_node("Conv", ["xd", "real", "b"], ["c"], strides=[4, 4]),
        *pair("c", "d", "after", "none"),
        *LAST,
    ]


def quantised_operators() -> list[onnx.NodeProto]:
    inputs = ["xq", "step", "zero", "stored", "scales", "zeros", "after", "none", "bias"]
    return [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
        helper.make_node("QLinearConv", inputs, ["cq"], strides=[4, 4]),
        helper.make_node("DequantizeLinear", ["cq", "after", "none"], ["d"]),
        *LAST,
    ]


@dataclass
class Kept:
    source: Source
    trunk: onnx.ModelProto
    features: FloatArray
    layers: tuple[int, int]


def images(count: int = 4) -> FloatArray:
    return np.random.default_rng(3).normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)


def kept(path: str, place: int = 0) -> Kept:
    source = open_source(SourceOptions(path))
    cut = find_cuts(source.graph)[place]
    split = split_graph(source.graph, choose_by_name(find_cuts(source.graph), cut.name), 8, False, 0)
    assert source.quantisation is not None
    trunk, layers, of = keep_quantisation(split.trunk, source.quantisation, cut.tensor)
    onnx.checker.check_model(trunk, full_check=True)
    given = images() if source.input_info.height == SIDE else None
    return Kept(source, trunk, GraphRunner(trunk)({IMAGE: given}, [FEATURES])[FEATURES], (layers, of))


def answers(path: str, tensor: str) -> FloatArray:
    """A tensor of the file itself."""
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    return GraphRunner(model)({"x": images()}, [tensor])[tensor]


@pytest.mark.parametrize("nodes", [quantised_pairs, quantised_operators])
def test_the_trunk_gives_exactly_the_features_of_the_file(tmp_path: Path, nodes) -> None:
    weights = CONSTANTS | {"zeros": np.zeros(6, np.int8)}
    path = saved(tmp_path / "m.onnx", nodes(), weights)
    found, expected = kept(path), answers(path, "d")
    assert found.layers == (1, 1) and expected.min() == 0 < expected.max()
    assert found.features == pytest.approx(expected, abs=1e-6)
    stored = {t.data_type for t in found.trunk.graph.initializer if len(t.dims) == 4}
    assert stored == {onnx.TensorProto.INT8}  # the file's own numbers, a byte each
    kernels = [numpy_helper.to_array(t) for t in found.trunk.graph.initializer if len(t.dims) == 4]
    assert np.array_equal(kernels[0], STORED)


@pytest.mark.parametrize("nodes", [quantised_pairs, quantised_operators])
def test_the_float_network_is_nearly_the_file(tmp_path: Path, nodes) -> None:
    """The ReLU that the quantiser left out is there again."""
    path = saved(tmp_path / "m.onnx", nodes(), CONSTANTS | {"zeros": np.zeros(6, np.int8)})
    source = open_source(SourceOptions(path))
    assert "Relu" in {node.op_type for node in source.graph.graph.node}
    found = GraphRunner(source.graph)({IMAGE: images()}, ["logits"])["logits"]
    assert relative_difference(found, source.reference(images())) < 1e-5
    assert relative_difference(found, answers(path, "y")) < 0.1
    kernels = [numpy_helper.to_array(t) for t in source.graph.graph.initializer if len(t.dims) == 4]
    assert np.allclose(kernels[0], STORED * SCALES.reshape(-1, 1, 1, 1))


def test_relu6_comes_back_with_its_bound(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", quantised_pairs(), CONSTANTS | {"after": np.float32(6 / 255)})
    source = open_source(SourceOptions(path))
    assert "Clip" in {node.op_type for node in source.graph.graph.node}
    assert relative_difference(source.reference(images()), answers(path, "y")) < 0.1


def test_channels_last_as_tf2onnx_writes_it(tmp_path: Path) -> None:
    """The image is quantised before it is transposed."""
    nodes = [*pair("x", "xd", "step", "zero"), helper.make_node("Transpose", ["xd"], ["t"], perm=[0, 3, 1, 2]),
             *quantised_pairs()[2:]]  # fmt: skip
    nodes[5].input[0] = "t"
    path = saved(tmp_path / "m.onnx", nodes, CONSTANTS, ("n", SIDE, SIDE, 3))
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name="d"))
    expected = GraphRunner(model)({"x": images().transpose(0, 2, 3, 1)}, ["d"])["d"]
    found = kept(path)
    assert found.layers == (1, 1) and found.features == pytest.approx(expected, abs=1e-6)


def test_scales_at_run_time_are_refused_by_their_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["xd"]), *quantised_pairs()[2:]]  # fmt: skip
    with pytest.raises(UsageError, match=r"operator DynamicQuantizeLinear \(q\) chooses its scales at run time"):
        open_source(SourceOptions(saved(tmp_path / "m.onnx", nodes, CONSTANTS)))
    computed = [helper.make_node("Abs", ["step"], ["step2"]), *quantised_pairs()]
    computed[1].input[1] = "step2"
    with pytest.raises(UsageError, match=r"operator QuantizeLinear \(xd.q\) has scales in blocks or scales that are"):
        open_source(SourceOptions(saved(tmp_path / "m.onnx", computed, CONSTANTS)))


def test_a_bundle_keeps_the_bits_and_says_what_was_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        *quantised_pairs()[:-3],
        helper.make_node("Conv", ["d", "points"], ["e"]),
        helper.make_node("Relu", ["e"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["g"]),
        *LAST[1:],
    ]
    points = GENERATOR.normal(size=(6, 6, 1, 1)).astype(np.float32)
    path = saved(tmp_path / "m.onnx", nodes, CONSTANTS | {"points": points})
    data = make_folder(tmp_path / "data", ["red", "green"], count=20)
    words = ["export", "--model", path, "--out", str(tmp_path / "b"), "--calibration", str(data), "--json", "--quiet"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trunk_dtype"] == "int8" and "8 bits are kept: 1 of 1 layers" in document["note"]
    provenance = Bundle.open(tmp_path / "b").manifest.provenance
    assert provenance["input_assumed"] == "mean, std, channel_order, resize, crop_ratio, interpolation"
