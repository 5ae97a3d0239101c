"""The whole network of a bundle: from its graph, or rebuilt, with a classifier of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from profile_bundles import CHANNELS, SIDE, make_bundle, small_network

from lightcl_edge.errors import BundleError
from lightcl_profiler.networks.new_classifier import network_from_graph
from lightcl_profiler.networks.whole_network import load_whole_network


@pytest.mark.parametrize("last", ["Gemm", "MatMul", "Conv"])
def test_a_graph_gets_a_classifier_of_its_own(tmp_path: Path, last: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(small_network(last))
    network = network_from_graph(path, classes=3)
    logits = network(torch.rand(2, 3, SIDE, SIDE))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    trained = CHANNELS * 27 + 2 * CHANNELS + 3 * CHANNELS + 3
    assert sum(parameter.numel() for parameter in network.parameters()) == trained


def test_batch_statistics_are_used_and_learned(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(small_network())
    network = network_from_graph(path, classes=3).train()
    before = [statistic.clone() for statistic in network.buffers()]
    network(torch.rand(4, 3, SIDE, SIDE))
    assert before
    assert not any(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))


def test_without_a_whole_network_the_error_says_how_to_export_one(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, whole=None, model="someones.onnx")
    with pytest.raises(BundleError, match=r"has no model.onnx and .* rebuilt here .*export --with-baselines"):
        load_whole_network(bundle, 2)


def test_the_model_library_rebuilds_what_it_knows(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, whole=None, model="resnet18_cifar")
    network, origin = load_whole_network(bundle, 5)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    assert network.training
    assert (
        origin
        == "network rebuilt by the model library as resnet18_cifar with random weights, which need the same memory"
    )
