"""The paper's calculated table, and the counts of the paper's own network that it is made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import open_source
from lightcl_host.sources.whole_network import whole_network
from lightcl_profiler.networks.new_classifier import network_from_graph
from lightcl_profiler.paper.counting import count_network
from lightcl_profiler.paper.table import NETWORKS, paper_rows

#: Figures that no formula reproduces; docs/builders/cost.md says by how much and why.
UNEXPLAINED = {
    ("cifar10", "sparcl-er"),
    ("cifar10", "lightcl-0.9"),
    ("tinyimagenet", "lightcl-0.9"),
    ("tinyimagenet", "lightcl"),
}


def test_every_explained_figure_is_within_one_percent() -> None:
    rows = paper_rows()
    checked = [row for row in rows if (row.dataset, row.method) not in UNEXPLAINED or row.quantity != "memory_mib"]
    assert len(checked) == 23
    assert {(row.dataset, row.method): row.difference for row in checked if abs(row.difference) > 0.01} == {}


def test_the_unexplained_figures_are_what_the_docs_say() -> None:
    found = {
        (row.dataset, row.method): round(row.calculated, 1) for row in paper_rows() if row.quantity == "memory_mib"
    }
    assert {key: found[key] for key in UNEXPLAINED} == {
        ("cifar10", "sparcl-er"): 108.5,
        ("cifar10", "lightcl-0.9"): 25.5,
        ("tinyimagenet", "lightcl-0.9"): 79.9,
        ("tinyimagenet", "lightcl"): 147.0,
    }


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnet") / "whole.onnx"
    path.write_bytes(whole_network(open_source(SourceOptions("resnet18_cifar", "none"))).SerializeToString())
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "side", "classes"), [("cifar10", 32, 10), ("tinyimagenet", 64, 200)])
def test_the_papers_network_is_counted_rightly(graph_file: Path, dataset: str, side: int, classes: int) -> None:
    """layer4 has five convolutions, one of them a shortcut; with the classifier the head has six layers."""
    found = count_network(network_from_graph(graph_file, classes, 6), torch.zeros(1, 3, side, side))
    head_channels, other_channels = 5 * 512, 64 + 4 * 64 + 5 * 128 + 5 * 256
    expected = NETWORKS[dataset]
    assert found == replace(
        expected,  # the exporter gives every convolution a bias of zeros
        parameters=expected.parameters + 4 * (head_channels + other_channels),
        head_parameters=expected.head_parameters + 4 * head_channels,
        kept_multiply_adds=found.kept_multiply_adds,
        kept_head_multiply_adds=found.kept_head_multiply_adds,
    )
    masked_in_stem = 0.2 * 3 * 9 * 64 * side * side
    assert found.kept_multiply_adds == pytest.approx(expected.kept_multiply_adds - masked_in_stem, abs=20)
    assert found.kept_head_multiply_adds == pytest.approx(expected.kept_head_multiply_adds, abs=20)
