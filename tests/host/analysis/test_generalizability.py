"""Stability and plasticity of a network of which a part was changed by hand, so that the answer is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lightcl_edge.console.progress import Progress
from lightcl_host.analysis.generalizability import (
    Training,
    even_parts,
    look_batch,
    look_grams,
    measure,
    probe_cuts,
    step_batch,
)
from lightcl_host.analysis.network import Network, trainable_from
from lightcl_host.analysis.similarity import linear_cka
from lightcl_host.analysis.summary import cut_figures, plasticity
from lightcl_host.analysis.tasks import Sequence, load_sequence
from lightcl_host.cutting.cuts import Cut, find_cuts
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import Source, open_source

BEFORE, AFTER = ("stem", "stage1.0", "stage1", "down", "stage2.0"), ("stage2", "mean")


@pytest.fixture(scope="module")
def source(network_file: Path) -> Source:
    return open_source(SourceOptions(str(network_file)))


@pytest.fixture(scope="module")
def cuts(source: Source) -> list[Cut]:
    return [cut for cut in find_cuts(source.graph) if cut.trainable]


@pytest.fixture(scope="module")
def sequence(source: Source, pictures_file: Path) -> Sequence:
    return load_sequence(str(pictures_file), source.input_info, 3, 144, 0, Progress(quiet=True))


@pytest.fixture
def network(source: Source, cuts: list[Cut]) -> Network:
    return Network(source, cuts, 6, seed=0)


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than so small a network takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def last_block(network: Network) -> list[torch.nn.Parameter]:
    tensors = network._module.named_tensors()
    found = [tensor for name, tensor in tensors.items() if name.startswith("stage2.1.")]
    assert len(found) == 4
    return found


def test_a_reset_last_block_is_seen_after_it_alone(network: Network, cuts: list[Cut]) -> None:
    assert [cut.name for cut in cuts] == [*BEFORE, *AFTER]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
    old = look_grams(network, pixels, 16)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in last_block(network):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    new = look_grams(network, pixels, 16)
    stability = {name: linear_cka(old[name], new[name]) for name in new}
    assert all(stability[name] == pytest.approx(1.0, abs=1e-9) for name in BEFORE)
    assert all(stability[name] < 0.99 for name in AFTER), stability


def test_a_silenced_last_block_loses_plasticity_after_it_alone(network: Network, sequence: Sequence) -> None:
    task = sequence.tasks[0]
    after = {name: right.mean() for name, right in probe_cuts(network, task, 16).items()}
    with torch.no_grad():
        for tensor in last_block(network):
            tensor.fill_(-10.0)  # under a ReLU: every image then gives the same features, and a probe must guess
    before = {name: right.mean() for name, right in probe_cuts(network, task, 16).items()}
    learned = {name: plasticity([before[name]], [after[name]]) for name in after}
    assert all(learned[name] == 1.0 for name in BEFORE)
    for name in AFTER:
        assert after[name] > 0.8 and before[name] == pytest.approx(0.5, abs=0.01)
        assert learned[name] == pytest.approx(before[name] / after[name])


def test_the_network_gives_the_features_of_the_graph(
    network: Network, source: Source, cuts: list[Cut], sequence: Sequence
) -> None:
    from lightcl_edge.inference.trunk import normalise
    from lightcl_host.cutting.split import split_graph
    from lightcl_host.graphs.runner import GraphRunner

    pixels = sequence.tasks[0].held[:3]
    seen: dict[str, np.ndarray] = {}
    network.look(pixels, lambda name, features: seen.update({name: features.numpy()}))
    for cut in cuts:
        trunk = split_graph(source.graph, cut, 6, False, 0).trunk
        features = GraphRunner(trunk)({"image": normalise(pixels, source.input_info)}, ["features"])["features"]
        np.testing.assert_allclose(seen[cut.name], features, atol=1e-4)


def test_steps_lower_the_loss(network: Network, sequence: Sequence) -> None:
    task = sequence.tasks[0]
    classes = np.unique(task.train_labels)
    losses = [network.step(task.train[:16], task.train_labels[:16], classes, 0.3) for _ in range(45)]
    assert losses[0] == pytest.approx(np.log(2), abs=0.1) and losses[-1] < 0.1


def test_a_measurement_is_equal_to_the_last_bit(source: Source, cuts: list[Cut], sequence: Sequence) -> None:
    assert trainable_from(source, cuts) == "image"
    found = []
    for _ in range(2):
        network, said = Network(source, cuts, 6, seed=3), list[float]()
        found.append(measure(network, sequence, Training(8, 16, 0.3), 16, 3, said.append))
        assert len(said) > 3 * 8 and found[-1]["steps"] == [8, 8, 8]
    assert found[0] == found[1]
    assert set(found[0]["cuts"]) == {cut.name for cut in cuts}
    figures = cut_figures(found[0]["cuts"]["stage2"])
    assert 0.3 < figures["memory_stability"] < 1 and 0 < figures["memory_stability_deviation"] < 0.3
    assert figures["memory_stability"] < cut_figures(found[0]["cuts"]["stem"])["memory_stability"]


def test_a_task_ends_when_the_ranking_stays(source: Source, cuts: list[Cut], sequence: Sequence) -> None:
    found = measure(Network(source, cuts, 6, seed=3), sequence, Training(200, 16, 0.02), 16, 3, lambda _: None)
    assert all(10 <= steps < 200 for steps in found["steps"])


def test_batches() -> None:
    assert look_batch(10) == 64 and look_batch(2**20) == 64 and look_batch(2 * 2**20) == 32 and look_batch(2**40) == 8
    assert step_batch(10) == 16 and step_batch(6 * 2**20) == 8 and step_batch(2**40) == 4
    parts = even_parts(np.zeros((33, 1, 1, 3), np.uint8), 16)
    assert [len(part) for part in parts] == [11, 11, 11] and even_parts(np.zeros((0, 1, 1, 3), np.uint8), 4) == []
