"""Cuts: where they are, what they are called, which are refused and why."""

from __future__ import annotations

import onnx
import pytest

from lightcl_edge.errors import UsageError
from lightcl_host.cutting.cuts import Cut, choose_by_name, find_cuts
from lightcl_host.cutting.rule_of_thumb import choose_automatically
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import open_source


def names(model: onnx.ModelProto) -> list[str]:
    return [cut.name for cut in find_cuts(model)]


def test_cuts_lie_between_blocks_never_inside(residual: onnx.ModelProto) -> None:
    assert names(residual)[:6] == ["stem", "stage1.0", "stage1", "down", "stage2.0", "stage2"]
    cuts = {cut.name: cut for cut in find_cuts(residual)}
    assert cuts["stage1"].shape == (8, 8, 8) and cuts["stage2"].shape == (16, 4, 4)
    assert "stage1.1" in cuts["stage1"].aliases
    assert all(cut.trainable for cut in cuts.values())


def test_sizes_count_every_weight_once(residual: onnx.ModelProto) -> None:
    cuts = find_cuts(residual)
    total = {cut.trunk_parameters + cut.head_parameters for cut in cuts}
    assert len(total) == 1
    assert cuts[0].trunk_parameters == 3 * 8 * 9 + 8  # the stem's kernel and its folded batch norm
    assert cuts[-1].head_parameters == 16 * 5 + 5 == cuts[-1].classifier_parameters
    assert cuts[0].feature_bytes == 8 * 8 * 8


def test_an_activation_belongs_to_the_trunk(gated: onnx.ModelProto) -> None:
    assert names(gated)[:4] == ["silu", "se", "swish", "ReduceMean"]


def test_a_branch_is_no_cut(branches: onnx.ModelProto) -> None:
    assert names(branches)[:2] == ["gelu", "Concat"]


def test_an_operator_outside_the_list_refuses_earlier_cuts_by_name() -> None:
    cuts = [
        Cut("a", "a", (8, 4, 4), 10, 90, 5, "operator Gelu (g) is outside the trainable list"),
        Cut("b", "b", (8, 4, 4), 50, 50, 5, aliases=("b.1",)),
    ]
    with pytest.raises(UsageError, match=r"cut 'a' can't be trained: operator Gelu .*; the nearest cut that can is b$"):
        choose_by_name(cuts, "a")
    with pytest.raises(UsageError, match=r"no cut 'bb'; did you mean b"):
        choose_by_name(cuts, "bb")
    assert choose_by_name(cuts, "b.1") is cuts[1]


def test_reasons_name_operator_and_tensor() -> None:
    import torch
    from torch import nn

    from lightcl_host.sources.torch_source import export_module

    class Sine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x)

    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), Sine(), nn.Flatten(), nn.Linear(4 * 16, 3)
    ).eval()
    cuts = find_cuts(export_module(network, 8, 8))
    assert not cuts[0].trainable and cuts[-1].trainable
    assert cuts[0].reason.startswith("operator Sin (") and "outside the trainable list" in cuts[0].reason


@pytest.mark.slow
def test_resnet18_cifar_can_be_cut_at_layer3() -> None:
    source = open_source(SourceOptions("resnet18_cifar", "none"))
    cut = choose_by_name(find_cuts(source.graph), "layer3")
    assert cut.shape == (256, 8, 8) and cut.feature_bytes == 16384
    assert cut.head_parameters == 8_393_738


def cut(name: str, shape: tuple[int, ...], trunk: int, reason: str = "") -> Cut:
    return Cut(name, name, shape, trunk, 1000 - trunk, 100, reason)


def test_the_automatic_cut_keeps_a_fifth_of_the_weights_in_the_head() -> None:
    cuts = [cut("a", (8, 8, 8), 100), cut("b", (8, 4, 4), 700), cut("c", (8, 4, 4), 721), cut("d", (8,), 850)]
    assert choose_automatically(cuts).name == "b"


def test_the_automatic_cut_is_never_an_expanded_tensor() -> None:
    cuts = [cut("in", (8, 4, 4), 300), cut("expanded", (48, 4, 4), 400), cut("out", (16, 4, 4), 500)]
    assert choose_automatically(cuts).name == "in"


def test_the_automatic_cut_passes_over_what_can_not_be_trained() -> None:
    cuts = [cut("a", (8, 4, 4), 300, "operator Gelu"), cut("b", (8, 4, 4), 350)]
    assert choose_automatically(cuts).name == "b"


def test_the_automatic_cut_takes_tokens_with_their_class_token() -> None:
    cuts = [cut("patches", (32, 4, 4), 10), cut("block.0", (17, 32), 300), cut("block.1", (17, 32), 700)]
    assert choose_automatically([*cuts, cut("token", (32,), 720)]).name == "block.1"
