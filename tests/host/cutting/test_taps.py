"""The head's taps against the original network in torch: what hooks see, averaged and divided by its length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import small_networks
from lightcl_edge.bundle.graph_names import FEATURES, IMAGE, LOGITS, PENULTIMATE, TAPS
from lightcl_edge.bundle.manifest import TapInfo
from lightcl_edge.learning.engines.ort_engine import OrtEngine
from lightcl_edge.learning.engines.torch_engine import TorchEngine
from lightcl_host.autodiff.training_step import step_graphs
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.cutting.taps import MAX_TAP_SIZE, Tap, TapPlace, default_taps
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import open_source
from lightcl_host.sources.torch_source import export_module

IMAGES = 8


def split(model: onnx.ModelProto, cut: str) -> Split:
    return split_graph(model, choose_by_name(find_cuts(model), cut), 7, False, 0)


def tapped(parts: Split, images: np.ndarray) -> np.ndarray:
    features = GraphRunner(parts.trunk)({IMAGE: images}, [FEATURES])
    return GraphRunner(parts.head)(features, [TAPS])[TAPS]


def seen_by_hooks(network: nn.Module, modules: list[str], images: np.ndarray) -> np.ndarray:
    """Outputs of modules, averaged over all axes behind the channels, each divided by its length."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            found[name] = output.flatten(2).mean(2) if output.ndim > 2 else output

        return hook

    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in modules]
    with torch.no_grad():
        network.eval()(torch.from_numpy(images))
    for handle in handles:
        handle.remove()
    return np.concatenate([nn.functional.normalize(found[name], dim=1).numpy() for name in modules], axis=1)


def pictures(side: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((IMAGES, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize(
    ("cut", "modules"),
    [("stage1", ["stage2", "stage2.0"]), ("stage2.0", ["stage2", "stage2.0"]), ("stage2", ["stage2"])],
)
def test_a_residual_network_taps_its_last_two_blocks(residual: onnx.ModelProto, cut: str, modules: list[str]) -> None:
    images = pictures(16)
    expected = seen_by_hooks(small_networks.Residual().eval(), modules, images)
    found = tapped(split(residual, cut), images)[:, : expected.shape[1]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_names_and_sizes(residual: onnx.ModelProto, gated: onnx.ModelProto) -> None:
    named = {cut: split(residual, cut).head_info.taps for cut in ("stage1", "stage2.0", "stage2")}
    names = {
        "stage1": [PENULTIMATE, "stage2.0", "stage2.0 (spread)", FEATURES, f"{FEATURES} (spread)"],
        "stage2.0": [PENULTIMATE, FEATURES, f"{FEATURES} (spread)"],
        "stage2": [PENULTIMATE],
    }
    assert {cut: [tap.name for tap in taps] for cut, taps in named.items()} == names
    assert [tap.size for tap in named["stage1"]] == [16, 16, 16, 8, 8]
    assert split(gated, "silu").head_info.tap_size == 12 + 2 * 8 + 2 * 8


@pytest.mark.parametrize(
    ("model", "size", "cut", "modules", "sizes"),
    [
        ("efficientnet_lite0", 128, "blocks.4", ["blocks.6", "blocks.5"], [320, 192, 192, 112, 112]),
        ("efficientnet_lite0", 128, "blocks.5", ["blocks.6", "blocks.5"], [320, 192, 192]),
        ("efficientnet_lite0", 128, "blocks", ["blocks.6"], [320]),
        ("resnet18_cifar", 32, "layer3", ["layer4.1", "layer4.0"], [512, 512]),
    ],
)
@pytest.mark.slow
def test_the_embedded_networks(model: str, size: int, cut: str, modules: list[str], sizes: list[int]) -> None:
    source = open_source(SourceOptions(model=model, weights="none", image_size=size))
    parts = split(source.graph, cut)
    assert [tap.size for tap in parts.head_info.taps] == sizes
    images = pictures(size)
    expected = seen_by_hooks(source.module, modules, images)
    np.testing.assert_allclose(tapped(parts, images)[:, : expected.shape[1]], expected, atol=1e-5)


class Tokens(nn.Module):
    """A map taken apart into tokens, mixed twice, averaged and classified."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.first = nn.Sequential(nn.Linear(12, 12), nn.ReLU())
        self.last = nn.Sequential(nn.Linear(12, 12), nn.ReLU())
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.first(torch.relu(self.patches(x)).flatten(2).transpose(1, 2))
        return self.fc(self.last(tokens).mean(dim=1))


def test_tokens_are_averaged_over_the_tokens() -> None:
    network, images = Tokens().eval(), pictures(16)
    parts = split(export_module(network, 16, 16), "first")
    assert parts.head_info.taps == [TapInfo(name, 12) for name in (PENULTIMATE, FEATURES, f"{FEATURES} (spread)")]
    kept = []
    for block in (network.first, network.last):
        block.register_forward_hook(lambda _module, _inputs, output: kept.append(output.mean(dim=1)))
    with torch.no_grad():
        network(torch.from_numpy(images))
    expected = np.concatenate([nn.functional.normalize(part, dim=1).numpy() for part in reversed(kept)], axis=1)
    np.testing.assert_allclose(tapped(parts, images)[:, :24], expected, atol=1e-5)


def test_both_engines_give_the_taps(residual: onnx.ModelProto, tmp_path: Path) -> None:
    parts = split(residual, "stage1")
    offered = step_graphs(parts.head, parts.head_info, (8, 8, 8), [4], 2)
    assert offered.head.positions_first, "the evaluate graph is the one that is used"
    for path, data in offered.files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    onnx.save(parts.head, tmp_path / "head.onnx")
    features = np.random.default_rng(0).standard_normal((11, 8, 8, 8)).astype(np.float32)
    expected = GraphRunner(parts.head)({FEATURES: features}, [TAPS])[TAPS]
    paths = [(record, tmp_path / record.path) for record in offered.records]
    for engine in (
        OrtEngine(tmp_path / "head.onnx", offered.head, (8, 8, 8), paths, 1),
        TorchEngine(tmp_path / "head.onnx", offered.head, 1),
    ):
        engine.load(parts.parameters())
        found = engine.activations(features, [TAPS, LOGITS])
        np.testing.assert_allclose(found[TAPS], expected, atol=1e-5, err_msg=engine.name)


def test_training_graphs_and_the_list_of_operators_know_no_taps(residual: onnx.ModelProto) -> None:
    parts = split(residual, "stage1")
    offered = step_graphs(parts.head, parts.head_info, (8, 8, 8), [4], 2)
    for record in offered.records:
        nodes = onnx.load_from_string(offered.files[record.path]).graph.node
        kinds = {node.op_type for node in nodes}
        assert ("ReduceL2" in kinds) == (record.update in ("forward", "evaluate")), record.path
    assert "ReduceL2" not in parts.head_info.operators


def test_a_part_without_length_is_zero(residual: onnx.ModelProto) -> None:
    cut = choose_by_name(find_cuts(residual), "stage1")
    parts = split_graph(residual, cut, 7, False, 0, lambda places: [Tap(places[-1])])
    assert parts.head_info.taps == [TapInfo(FEATURES, 8)]
    found = GraphRunner(parts.head)({FEATURES: np.zeros((1, 8, 8, 8), np.float32)}, [TAPS])[TAPS]
    np.testing.assert_array_equal(found, np.zeros((1, 8), np.float32))


def places(*sizes: int) -> list[TapPlace]:
    """The penultimate's width, then those of maps, the deepest first."""
    return [TapPlace(PENULTIMATE, PENULTIMATE, sizes[:1])] + [
        TapPlace(f"block{number}", f"t{number}", (size, 4, 4)) for number, size in enumerate(sizes[1:])
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1280, 320, 1152, 1152, 192, 192), [320, 192, 192]),  # EfficientNet-Lite0
        ((512, 512, 256), [512, 512]),  # ResNet-18
        ((2048, 2048, 2048, 1024), [2048]),  # ResNet-50: nothing fits, and its third stage is no substitute
        ((1280, 960, 160), [960]),  # MobileNetV3-Large
        ((1280,), [1280]),
        ((64,), [64]),
    ],
)
def test_the_default_choice(sizes: tuple[int, ...], expected: list[int]) -> None:
    found = default_taps(places(*sizes))
    assert [tap.size for tap in found] == expected
    assert sum(expected) <= MAX_TAP_SIZE or [tap.place for tap in found] == places(*sizes)[:1]


def test_a_shallower_input_gives_mean_and_spread(residual: onnx.ModelProto) -> None:
    """Against numpy: each part divided by its length and scaled."""
    cut = choose_by_name(find_cuts(residual), "stage1")
    given = TapPlace(FEATURES, FEATURES, (8, 8, 8))
    parts = split_graph(residual, cut, 7, False, 0, lambda _: [Tap(given, False, 3.0), Tap(given, True, 0.5)])
    assert parts.head_info.taps == [TapInfo(FEATURES, 8), TapInfo(f"{FEATURES} (spread)", 8)]
    features = np.random.default_rng(0).standard_normal((5, 8, 8, 8)).astype(np.float32) + 1
    mean, spread = features.mean((2, 3)), features.std((2, 3))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (mean, spread)]
    found = GraphRunner(parts.head)({FEATURES: features}, [TAPS])[TAPS]
    np.testing.assert_allclose(found, np.concatenate([3 * unit[0], 0.5 * unit[1]], axis=1), rtol=1e-4, atol=1e-6)


def test_the_default_takes_a_shallower_input_with_half_the_weight() -> None:
    listed = [*places(1280, 320, 192), TapPlace(FEATURES, FEATURES, (112, 8, 8))]
    found = [(tap.name, tap.scale) for tap in default_taps(listed)]
    shallow = [("block1 (spread)", 0.5), (FEATURES, 0.5), (f"{FEATURES} (spread)", 0.5)]
    assert found == [("block0", 1.0), ("block1", 1.0), *shallow]


def test_channels_last_maps_are_pooled_over_their_positions() -> None:
    """As in a Swin transformer, whose maps are (height, width, channels)."""
    from torch import nn

    from lightcl_host.sources.torch_source import export_module

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patches, self.norm = nn.Conv2d(3, 6, 4, stride=4), nn.LayerNorm(6)
            self.inner, self.fc = nn.Linear(6, 6), nn.Linear(6, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.norm(self.patches(images).permute(0, 2, 3, 1))
            return self.fc(torch.relu(tokens + self.inner(tokens)).mean((1, 2)))

    model = export_module(Windows().eval(), 16, 16)
    cut = next(cut for cut in find_cuts(model) if cut.tensor in (cut.name, *cut.aliases) and cut.shape == (4, 4, 6))
    split = split_graph(model, cut, 8, keep_classes=False, seed=0)
    assert all(place.size == 6 for place in split.tap_places)
    assert {tap.size for tap in split.head_info.taps} == {6}
