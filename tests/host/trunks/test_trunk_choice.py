"""Trunks of fewer bits: which convolutions stay float32, what is measured, when float32 is taken instead."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE
from lightcl_edge.errors import BundleError
from lightcl_host.cli import main
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import split_graph
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.trunks.calibration import divide
from lightcl_host.trunks.dtype_choice import Comparison, choose_trunk, first_classes, trunk_features
from lightcl_host.trunks.feature_storage import NO_NOISE_DB, channel_signal_to_noise_db
from lightcl_host.trunks.fp16 import halve_trunk
from lightcl_host.trunks.int8 import TrunkQuantiser, _reader, quantize_trunk
from small_networks import Residual

IMAGES = np.random.default_rng(0).normal(size=(96, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def split(residual):
    return split_graph(residual, choose_by_name(find_cuts(residual), "stage1"), 8, keep_classes=False, seed=0)


def _comparison(split, reference):
    classes = None if reference is None else first_classes(reference, IMAGES[48:])
    return Comparison(IMAGES[48:], trunk_features(split.trunk, IMAGES[48:]), classes)


def _reference(images):
    with torch.no_grad():
        return Residual()(torch.from_numpy(images)).numpy()


def test_signal_to_noise_of_each_channel():
    signal = np.zeros((2, 3, 4, 4), np.float32)
    signal[:, 0], signal[:, 1] = 1.0, 2.0
    found = signal.copy()
    found[:, 0] += 0.1
    assert channel_signal_to_noise_db(signal, found) == pytest.approx([20.0, NO_NOISE_DB], abs=1e-4)


def test_float_convolutions_stay_and_lower_the_noise(split):
    quality = {}
    for kept in (0, 3):
        model = quantize_trunk(split.trunk, IMAGES[:48], kept)
        made = {node.output[0]: node.op_type for node in model.graph.node}
        weights = [made.get(node.input[1]) for node in model.graph.node if node.op_type == "Conv"]
        assert weights == [None] * kept + ["DequantizeLinear"] * (len(weights) - kept)
        quality[kept] = _comparison(split, None).quality(model, split)
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


def test_the_first_good_enough_trunk_is_taken(split):
    comparison = _comparison(split, _reference)
    easy = choose_trunk(split, "auto", 0.5, IMAGES[:48], comparison)
    assert (easy.dtype, easy.float_convolutions, easy.note) == ("int8", 0, "")
    assert easy.agreement == easy.quality.agreement >= 0.5
    assert easy.tries == ((0, easy.quality),)


def test_float32_is_taken_with_a_reason_or_refused(split):
    comparison = _comparison(split, lambda images: -_reference(images))
    choice = choose_trunk(split, "auto", 0.95, IMAGES[:48], comparison)
    assert (choice.dtype, choice.float_convolutions, choice.model) == ("fp32", 0, split.trunk)
    assert "float32 was taken: the 8-bit trunk" in choice.note
    assert "of the 48 images it was checked with, below 95.0%" in choice.note
    assert [kept for kept, _ in choice.tries][:1] == [0] and choice.quality in [quality for _, quality in choice.tries]
    for dtype, name in (("int8", "8-bit"), ("fp16", "half-precision")):
        with pytest.raises(BundleError, match=rf"the {name} trunk.*agrees.*--trunk-dtype fp32"):
            choose_trunk(split, dtype, 0.95, IMAGES[:48], comparison)


def test_noisy_channels_are_a_reason_too(split, monkeypatch):
    monkeypatch.setattr("lightcl_host.trunks.dtype_choice.MINIMUM_CHANNEL_DB", 90.0)
    choice = choose_trunk(split, "auto", 0.0, IMAGES[:48], _comparison(split, _reference))
    assert choice.dtype == "fp32"
    assert "dB of signal to noise, expected 90 dB or more" in choice.note


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
