"""Trunk and head: names, outputs, patterns, parameters, and equality with PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lightcl_edge.errors import UsageError
from lightcl_edge.learning.engines.torch_graph import load_module
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.graphs.runner import GraphRunner, relative_difference
from lightcl_host.sources.torch_source import export_module
from small_networks import Gated, Residual


def split(model: onnx.ModelProto, cut: str, capacity: int = 7, keep: bool = False) -> Split:
    return split_graph(model, choose_by_name(find_cuts(model), cut), capacity, keep, seed=4)


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("cut", ["stem", "stage1.0", "stage2", "ReduceMean"])
def test_parts_give_the_network_at_any_batch(residual: onnx.ModelProto, cut: str) -> None:
    parts = split(residual, cut, keep=True)
    for model in (parts.trunk, parts.head):
        onnx.checker.check_model(model, full_check=True)
    features = GraphRunner(parts.trunk)({"image": images()}, ["features"])
    found = GraphRunner(parts.head)(features, ["logits", "penultimate"])
    with torch.no_grad():
        expected = Residual()(torch.from_numpy(images())).numpy()
    assert relative_difference(found["logits"][:, :5], expected) < 1e-5
    assert relative_difference(parts.original.logits(found["penultimate"]), expected) < 1e-5


def test_parameters_are_named_after_their_modules(residual: onnx.ModelProto) -> None:
    info = split(residual, "stage2.0").head_info
    assert [parameter.name for parameter in info.parameters] == [
        "stage2.1.conv1.weight",
        "stage2.1.conv1.bias",
        "stage2.1.conv2.weight",
        "stage2.1.conv2.bias",
        "classifier.weight",
        "classifier.bias",
    ]
    assert info.patterns == ["stage2.1.relu", "stage2.1.relu_1", "logits"]
    assert info.capacity == 7 and info.penultimate_size == 16


def test_the_networks_own_classes_go_unless_kept(residual: onnx.ModelProto) -> None:
    fresh, kept = split(residual, "stage2").parameters(), split(residual, "stage2", keep=True).parameters()
    assert fresh["classifier.weight"].shape == (7, 16) and not fresh["classifier.bias"].any()
    assert fresh["classifier.weight"].std() == pytest.approx(0.01, rel=0.3)
    np.testing.assert_array_equal(kept["classifier.weight"][:5], Residual().fc.weight.detach().numpy())
    np.testing.assert_array_equal(kept["classifier.weight"][5:], fresh["classifier.weight"][5:])
    with pytest.raises(UsageError, match="the network has 5 classes, found room for 4; give --max-classes 5"):
        split(residual, "stage2", capacity=4, keep=True)


def test_patterns_leave_squeeze_and_excite_out(gated: onnx.ModelProto) -> None:
    parts = split(gated, "silu")
    assert parts.head_info.patterns == ["swish", "penultimate", "logits"]
    outputs = [info.name for info in parts.head.graph.output]
    assert outputs == ["logits", "penultimate", "swish", "taps"]


def test_patterns_know_silu(gated: onnx.ModelProto) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), Gated())
    network[2].conv1 = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1)
    parts = split(export_module(network.eval(), 16, 16), "1")
    assert parts.head_info.patterns[0] == "2.silu"


def test_a_cut_right_before_the_classifier(residual: onnx.ModelProto) -> None:
    parts = split(residual, find_cuts(residual)[-1].name)
    assert parts.head_info.operators == ["Gemm", "Identity"]
    assert parts.head_info.patterns == ["logits"]


def test_a_missing_bias_is_added() -> None:
    parts = split(export_module(Residual(bias=False), 16, 16), "stage2")
    assert not parts.original.bias.any() and parts.original.bias.shape == (5,)
    assert parts.parameters()["classifier.bias"].shape == (7,)


def test_exported_graphs_carry_no_notes(residual: onnx.ModelProto) -> None:
    parts = split(residual, "stage1")
    text = parts.trunk.SerializeToString() + parts.head.SerializeToString()
    assert str(Path(__file__).parents[3]).encode() not in text and b"stack_trace" not in text


def test_gradients_of_the_head_are_those_of_the_original(residual: onnx.ModelProto, tmp_path: Path) -> None:
    """The exported head's gradient by its features against autograd of the original, batch norm and all."""
    network, parts = Residual(), split(residual, "stage2.0", capacity=5, keep=True)
    features = GraphRunner(parts.trunk)({"image": images()}, ["features"])["features"]
    value = torch.from_numpy(features).requires_grad_()
    labels = torch.tensor([0, 3, 1])
    nn.functional.cross_entropy(network.fc(network.stage2[1](value).mean(dim=(2, 3))), labels).backward()
    onnx.save(parts.head, tmp_path / "head.onnx")
    same = torch.from_numpy(features).requires_grad_()
    nn.functional.cross_entropy(load_module(tmp_path / "head.onnx")(same, ["logits"])["logits"], labels).backward()
    assert relative_difference(same.grad.numpy(), value.grad.numpy()) < 1e-4
