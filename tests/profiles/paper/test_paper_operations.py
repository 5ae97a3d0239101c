"""The paper's calculated memory and operations: its published figures, and a network counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from profile_bundles import small_network

from lightcl_profiler.networks.new_classifier import network_from_graph
from lightcl_profiler.paper.counting import count_network
from lightcl_profiler.paper.memory import NetworkCount, calculated_bytes
from lightcl_profiler.paper.operations import Learning, calculated_operations
from lightcl_profiler.paper.published import CIFAR10
from lightcl_profiler.paper.table import NETWORKS

#: The paper's: 45,000 images in five tasks, 50 epochs, batch 32, buffer 15.
PAPER = Learning((9000,) * 5, 50, 32, 15)


@pytest.mark.parametrize("method", [name for name, row in CIFAR10.items() if row.peta_operations and name != "lightcl"])
def test_the_papers_operations(method: str) -> None:
    found = calculated_operations(method, NETWORKS["cifar10"], PAPER)
    assert found == pytest.approx(1e15 * (CIFAR10[method].peta_operations or 0), rel=0.01)


@pytest.mark.parametrize(
    "method", ["sgd", "ewc", "pnn", "fdr", "er", "derpp", "lightcl_torch", "lightcl_sparse", "device:lightcl"]
)
def test_the_papers_memory(method: str) -> None:
    found = calculated_bytes(method, NETWORKS["cifar10"], 32, 15, 5)
    published = CIFAR10[method.removeprefix("device:")].memory_mib or 0
    assert found == pytest.approx(2**20 * published, rel=0.02)


def test_a_network_counted_by_hand(tmp_path: Path) -> None:
    """A 3x3 convolution from 3 to 4 channels on 8 x 8 pixels, BatchNorm, ReLU, mean, 4 to 6 classes after the cut."""
    (tmp_path / "net.onnx").write_bytes(small_network())
    count = count_network(network_from_graph(tmp_path / "net.onnx", 6, 1), torch.zeros(1, 3, 8, 8))
    assert count.multiply_adds == 8 * 8 * 4 * 27 + 6 * 4
    assert count.head_multiply_adds == count.kept_head_multiply_adds == 6 * 4
    assert count.kept_multiply_adds == round(0.2 * 8 * 8 * 4 * 27) + 6 * 4
    assert count.convolutions == 4 * 4 * 27
    assert count.head_convolutions == 0


def test_operations_by_hand() -> None:
    """F = 10 with 4 of it after the cut; two tasks of 6 and 3 images, 2 epochs, batch 4, 2 remembered a step."""
    net = NetworkCount(0, 0, 0, 0, 0, 0, 10, 4, 7, 2)
    work = Learning((6, 3), 2, 4, 2, kept=5)
    expected = {
        "sgd": 3 * 10 * 18,
        "joint": 3 * 10 * 18,
        "ewc": 3 * 10 * (18 + 9),
        "pnn": 3 * 10 * 12 + 4 * 10 * 6,
        "fdr": 3 * 10 * 18 * 1.5,
        "er": 3 * 10 * 18 * 1.5,
        "derpp": 3 * 10 * 18 * 2,
        "sparcl_er": 0.7 * 10 * (9 + 9 * 0.7) * 1.5,
        "sparcl_derpp": 0.7 * 10 * (9 + 9 * 0.7) * 2,
        "lightcl_torch": (10 + 2 * 4) * 18 * 1.5,
        "lightcl_sparse": (7 + 2 * 2) * 18 * 1.5,
        "device:lightcl": 6 * 9 + 3 * 4 * 18 * 1.5,
        "device:finetune": 6 * 9 + 3 * 4 * 18,
        "device:replay": 6 * 9 + 3 * 4 * (9 + 5) * 2,
        "device:slda": 10 * 9,
        "device:ncm": 10 * 9,
    }
    for method, value in expected.items():
        assert calculated_operations(method, net, work) == round(2 * value), method
    assert calculated_operations("magic", net, work) is None
    assert calculated_bytes("magic", net, 4, 2, 2) is None
