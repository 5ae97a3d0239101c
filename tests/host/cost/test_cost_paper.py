"""The paper's calculated table, from counts of a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightcl_host.cost.network import count_network
from lightcl_host.cost.paper import Setting, memory_bytes, operations
from lightcl_host.cost.paper_table import paper_rows

#: Figures that no formula reproduces; docs/cost.md says by how much and why.
UNEXPLAINED = {
    ("cifar10", "sparcl-er"),
    ("cifar10", "lightcl-0.9"),
    ("tinyimagenet", "lightcl-0.9"),
    ("tinyimagenet", "lightcl"),
}


@pytest.fixture(scope="module")
def rows():
    return paper_rows()


def test_every_explained_figure_is_within_one_percent(rows):
    checked = [row for row in rows if (row.dataset, row.method) not in UNEXPLAINED or row.quantity != "memory_mib"]
    assert len(checked) == 23
    assert {(row.dataset, row.method): row.difference for row in checked if abs(row.difference) > 0.01} == {}


def test_the_unexplained_figures_are_what_the_docs_say(rows):
    found = {(row.dataset, row.method): round(row.calculated, 1) for row in rows if row.quantity == "memory_mib"}
    assert {key: found[key] for key in UNEXPLAINED} == {
        ("cifar10", "sparcl-er"): 108.5,
        ("cifar10", "lightcl-0.9"): 25.5,
        ("tinyimagenet", "lightcl-0.9"): 79.9,
        ("tinyimagenet", "lightcl"): 147.0,
    }


def test_counts_of_a_network_worked_out_by_hand():
    module = nn.Sequential()
    module.add_module("stem", nn.Conv2d(3, 4, 3, padding=1))  # 112 weights, 4 x 8 x 8 outputs
    module.add_module("layer4", nn.Conv2d(4, 2, 1, stride=2, bias=False))  # 8 weights, 2 x 4 x 4 outputs
    module.add_module("flat", nn.Flatten())
    module.add_module("fc", nn.Linear(32, 5))  # 165 weights
    net = count_network(module, 8, 8)
    assert (net.parameters(), net.parameters(("layer4", "fc")), net.convolution_parameters()) == (285, 173, 120)
    assert net.activation_bytes() == 4 * (256 + 32)
    assert net.largest_activation_bytes(("layer4",)) == 4 * 256
    assert net.multiply_adds() == 256 * 27 + 32 * 4 + 5 * 32
    assert (net.classes, net.width) == (5, 32)
    setting = Setting(batch=4, buffer=2, task_classes=1, images=10, epochs=3)
    assert memory_bytes("sgd", net, setting) == 2 * 4 * 285 + 4 * 4 * 288
    assert memory_bytes("pnn", net, setting) == 6 * 4 * (285 - 4 * 33) + 4 * 4 * 288
    assert operations("er", net, setting) == pytest.approx(2 * 3 * 7200 * 30 * 6 / 4)


def test_shortcuts_are_not_counted_as_activations():
    block = nn.Module()
    block.conv, block.downsample, block.fc = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.Linear(2, 2)
    block.forward = lambda x: block.fc((block.conv(x) + block.downsample(x)).mean(dim=(2, 3)))
    net = count_network(block, 4, 4)
    assert net.activation_bytes() == 4 * 2 * 16
    assert net.parameters() == sum(parameter.numel() for parameter in block.parameters())
    assert torch.is_grad_enabled()
