"""Trunks of fewer bits: which convolutions stay float32, what is measured, when float32 is taken instead."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper, numpy_helper

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.errors import BundleError
from lightcl_host.cli import main
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import split_graph
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.trunks.calibration import LabelledImages, divide
from lightcl_host.trunks.dtype_choice import Comparison, Tolerance, choose_trunk, trunk_features
from lightcl_host.trunks.feature_quality import neighbours_kept
from lightcl_host.trunks.feature_storage import NO_NOISE_DB, channel_signal_to_noise_db
from lightcl_host.trunks.fp16 import halve_trunk
from lightcl_host.trunks.int8 import TrunkQuantiser, _reader, count_layers, quantize_trunk

IMAGES = np.random.default_rng(0).normal(size=(96, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def split(residual):
    return split_graph(residual, choose_by_name(find_cuts(residual), "stage1"), 8, keep_classes=False, seed=0)


INFO = InputInfo(16, 16, "stretch", 1.0, "bilinear", [0.5] * 3, [0.25] * 3, "RGB")


def _labelled(count=0):
    """Noise, brighter in one class than in the other."""
    labels = np.arange(count) % 2
    pixels = np.random.default_rng(1).integers(0, 200, (count, 16, 16, 3)) + 40 * labels[:, None, None, None]
    return LabelledImages(pixels.astype(np.uint8), labels)


def _comparison(split, labelled=0, **options):
    checked = IMAGES[48:]
    return Comparison(split, checked, trunk_features(split.trunk, checked), _labelled(labelled), INFO, **options)


def test_signal_to_noise_of_each_channel():
    signal = np.zeros((2, 3, 4, 4), np.float32)
    signal[:, 0], signal[:, 1] = 1.0, 2.0
    found = signal.copy()
    found[:, 0] += 0.1
    assert channel_signal_to_noise_db(signal, found) == pytest.approx([20.0, NO_NOISE_DB], abs=1e-4)
    tokens = [values.transpose(0, 2, 3, 1) for values in (signal, found)]
    assert channel_signal_to_noise_db(*tokens, channel_axis=2) == pytest.approx([20.0, NO_NOISE_DB], abs=1e-4)


def test_float_convolutions_stay_and_lower_the_noise(split):
    quality = {}
    for kept in (0, 3):
        model = quantize_trunk(split.trunk, IMAGES[:48], kept)
        made = {node.output[0]: node.op_type for node in model.graph.node}
        weights = [made.get(node.input[1]) for node in model.graph.node if node.op_type == "Conv"]
        assert weights == [None] * kept + ["DequantizeLinear"] * (len(weights) - kept)
        quality[kept] = _comparison(split).quality(model)
    assert quality[3].signal_to_noise_db > quality[0].signal_to_noise_db + 1
    assert quality[0].least_db <= quality[0].lowest_tenth_db <= quality[0].median_db


@pytest.mark.parametrize("kept", [3, 0])
def test_ranges_found_once_give_what_the_whole_quantiser_gives(split, kept, tmp_path):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, prepared, whole = (tmp_path / name for name in ("plain.onnx", "prepared.onnx", "whole.onnx"))
    onnx.save(split.trunk, str(plain))
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    convolutions = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    excluded = convolutions[:kept]
    quantize_static(
        str(prepared), str(whole), _reader(IMAGES[:8]), per_channel=True, nodes_to_exclude=excluded, **types
    )
    quantiser = TrunkQuantiser(split.trunk, IMAGES[:8])
    quantiser.quantised(8)  # leaves no trace in the next
    found, expected = quantiser.quantised(kept).graph, onnx.load(whole).graph
    assert [node.op_type for node in found.node] == [node.op_type for node in expected.node]
    assert {each.name: each.raw_data for each in found.initializer} == {
        each.name: each.raw_data for each in expected.initializer
    }


def _attention_trunk():
    import onnx

    random, add = np.random.default_rng(0), onnx.helper.make_node
    shapes = {"kernel": (8, 3, 4, 4), "query": (8, 8)}
    weights = [
        onnx.numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    weights.append(onnx.numpy_helper.from_array(np.array([0, 8, -1], np.int64), "places"))
    nodes = [
        add("Conv", [IMAGE, "kernel"], ["patches"], "conv", strides=[4, 4]),
        add("Reshape", ["patches", "places"], ["rows"], "reshape"),
        add("Transpose", ["rows"], ["tokens"], "transpose", perm=[0, 2, 1]),
        add("MatMul", ["tokens", "query"], ["queries"], "query"),
        add("MatMul", ["queries", "rows"], ["scores"], "scores"),
        add("Softmax", ["scores"], ["shares"], "softmax", axis=-1),
        add("MatMul", ["shares", "queries"], [FEATURES], "mix"),
    ]
    info = onnx.helper.make_tensor_value_info
    ends = [info(IMAGE, 1, ["n", 3, 16, 16])], [info(FEATURES, 1, ["n", 16, 8])]
    graph = onnx.helper.make_graph(nodes, "trunk", *ends, weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)


def test_in_trunks_with_attention_only_layers_with_weights_take_8_bits():
    trunk = _attention_trunk()
    model = quantize_trunk(trunk, IMAGES[:16])
    made = {node.output[0]: node.op_type for node in model.graph.node}
    kinds = {
        node.name: [made.get(name) for name in node.input] for node in model.graph.node if node.name in "conv query"
    }
    assert kinds == {"conv": ["DequantizeLinear"] * 2, "query": ["DequantizeLinear"] * 2}
    others = [node for node in model.graph.node if node.name in ("scores", "softmax", "mix")]
    quantised = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert len(others) == 3 and not quantised.intersection(node.output[0] for node in others)
    expected, found = trunk_features(trunk, IMAGES[16:32]), trunk_features(model, IMAGES[16:32])
    assert 0 < np.abs(expected - found).mean() < 0.1 * np.abs(expected).mean()


def test_kernels_do_not_saturate(split):
    """Whatever this processor is: the same features as the graph computed operator by operator in float."""
    import onnxruntime

    model = quantize_trunk(split.trunk, IMAGES[:48])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = plain.run([FEATURES], {IMAGE: IMAGES[:8]})[0]
    found = GraphRunner(model)({IMAGE: IMAGES[:8]}, [FEATURES])[FEATURES]
    assert np.abs(found - expected).mean() < 0.01 * np.abs(expected).mean()


def test_neighbours_are_kept_among_the_five_nearest():
    reference = np.arange(20, dtype=np.float32)[:, None] ** 1.1
    assert neighbours_kept(reference, reference) == 1
    rank = np.argsort(np.argsort(np.abs(reference - reference.T) + np.eye(20) * 1e9, axis=1), axis=1)
    other = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    distances = np.square(other[:, None] - other).sum(axis=2) + np.eye(20) * 1e9
    expected = np.mean([rank[row, distances[row].argmin()] < 5 for row in range(20)])
    assert neighbours_kept(other, reference) == pytest.approx(expected)


def test_the_first_good_enough_trunk_is_taken(split):
    easy = choose_trunk("auto", IMAGES[:48], _comparison(split, tolerance=Tolerance(least_neighbours=0.3)))
    assert (easy.dtype, easy.float_convolutions, easy.note, easy.judged) == ("int8", 1, "", True)
    assert easy.quality.accuracy is None and easy.quality.neighbours_kept >= 0.3
    assert easy.tries == ((1, easy.quality),)
    assert easy.quality.milliseconds > 0 and easy.quality.float32_milliseconds > 0


def test_labelled_images_decide_by_accuracy(split, monkeypatch):
    choice = choose_trunk("auto", IMAGES[:48], _comparison(split, 40, tolerance=Tolerance(least_neighbours=1)))
    lost = choice.quality.float32_accuracy - choice.quality.accuracy
    assert (
        choice.dtype == "int8"
        and choice.quality.float32_accuracy > 0.7
        and lost <= max(1 / 40, choice.quality.accuracy_error) + 1e-6
    )
    real, calls = Comparison._hits, []

    def worse(self, trunk):
        calls.append(trunk)
        return real(self, trunk) & (np.arange(40) % 10 > 0 if trunk is not split.trunk else True)

    monkeypatch.setattr(Comparison, "_hits", worse)
    choice = choose_trunk("auto", IMAGES[:48], _comparison(split, 40))
    assert choice.dtype == "fp32" and choice.model is split.trunk
    assert "points of accuracy on 40 labelled images, more than 1" in choice.note
    assert sum(trunk is split.trunk for trunk in calls) == 1  # whatever the number of tries
    assert choose_trunk("auto", IMAGES[:48], _comparison(split, 40, tolerance=Tolerance(20))).dtype == "int8"
    with pytest.raises(BundleError, match=r"the 8-bit trunk.*change --max-loss"):
        choose_trunk("int8", IMAGES[:48], _comparison(split, 40))


def test_random_weights_are_not_judged(split):
    choice = choose_trunk("int8", IMAGES[:48], _comparison(split, judged=False, tolerance=Tolerance(0, 2)))
    assert (choice.dtype, choice.judged) == ("int8", False) and "not judged" in choice.note


def test_float32_is_taken_with_a_reason_or_refused(split):
    comparison = _comparison(split, tolerance=Tolerance(least_neighbours=1.1))
    choice = choose_trunk("auto", IMAGES[:48], comparison)
    assert (choice.dtype, choice.float_convolutions, choice.model) == ("fp32", 0, split.trunk)
    assert "float32 was taken: the 8-bit trunk" in choice.note
    assert "of the 48 images it was checked with, below 110.0%" in choice.note
    assert [kept for kept, _ in choice.tries][:1] == [1] and choice.quality in [quality for _, quality in choice.tries]
    for dtype, name in (("int8", "8-bit"), ("fp16", "half-precision")):
        with pytest.raises(BundleError, match=rf"the {name} trunk.*nearest neighbour.*--trunk-dtype fp32"):
            choose_trunk(dtype, IMAGES[:48], comparison)


def test_half_precision_runs_on_a_processor_in_float32(split):
    model = halve_trunk(split.trunk)
    assert model.ByteSize() < 0.75 * split.trunk.ByteSize()
    assert [info.type.tensor_type.elem_type for info in (*model.graph.input, *model.graph.output)] == [1, 1]
    expected, found = trunk_features(split.trunk, IMAGES[:8]), trunk_features(model, IMAGES[:8])
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_images_are_divided_unless_they_are_few():
    first, second = (set(range(64)[part]) for part in divide(64))
    assert not first & second
    assert len(first) == len(second) == 32
    assert [len(range(20)[part]) for part in divide(20)] == [20, 20]


def test_an_fp16_bundle_trains_on_this_processor(network_file, tmp_path, capsys, edge):
    arguments = ["export", "--model", str(network_file), "--trunk-dtype", "fp16", "--cut", "stage1"]
    assert main([*arguments, "--min-agreement", "0.9", "--quiet", "--json", "--out", str(tmp_path / "b")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trunk_dtype"] == "fp16"
    assert document["trunk_quality"]["lowest_tenth_db"] > 40
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.integers(0, 256, (24, 16, 16, 3), np.uint8), y=np.arange(24) % 2)
    options = ["--data", tmp_path / "d.npz", "--learning-rate", "1e-7", "--epochs", "1", "--json"]
    edge("train", "--bundle", tmp_path / "b", "--state", tmp_path / "s", *options)


def test_only_layers_with_weights_count():
    """A product of two activations stays float32: a trunk of such alone would be called 8-bit and have none."""
    weights = [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")]
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"]), helper.make_node("MatMul", ["y", "w"], ["z"])]
    assert count_layers(helper.make_model(helper.make_graph(nodes, "g", [], [], weights))) == 1
