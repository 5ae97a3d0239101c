"""Dense 3 x 3 convolutions with fewer products. The rule's limits are lowered, so that small ones take this way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from autodiff_check import check_rule, node, normal
from head_export import Tail
from lightcl_host.autodiff.convolution import winograd
from lightcl_host.autodiff.sgd_update import update_hazards
from lightcl_host.autodiff.training_step import build_step
from step_reference import Head, largest_relative_difference, random_batch, torch_step


@pytest.fixture(autouse=True)
def _for_few_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 2)
    monkeypatch.setattr(winograd, "FEWEST_ROWS", 1)
    monkeypatch.setattr(winograd, "FEWEST_SAMPLES", 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(1, 3), st.integers(2, 5), st.integers(2, 5)),
    st.tuples(st.integers(3, 8), st.integers(3, 8)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.booleans(),
)
def test_any_image_and_pads(
    sizes: tuple[int, int, int], image: tuple[int, int], pads: tuple[int, int, int, int], bias: bool
) -> None:
    samples, channels, filters = sizes
    inputs = {"x": normal(1, samples, channels, *image), "w": normal(2, filters, channels, 3, 3)}
    if bias:
        inputs["b"] = normal(3, filters)
    top, left, bottom, right = pads

    def reference(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        return nn.functional.conv2d(nn.functional.pad(x, (left, right, top, bottom)), w, b)

    check_rule([node("Conv", list(inputs), pads=pads)], inputs, reference)
    check_rule([node("Conv", list(inputs), pads=pads)], inputs, reference, wanted=["w"])


def small_tail() -> Tail:
    torch.manual_seed(0)
    block = [nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False)]
    return Tail(nn.Sequential(*block, nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU()), 6, 5)


@pytest.mark.parametrize("update", ["in_place", "accumulate"])
def test_steps(update: str, tmp_path: Path) -> None:
    head = Head(small_tail(), (4, 6, 6), tmp_path)
    engine, batch = head.engine(update), random_batch(head, 6, 3, learning_rate=0.1)
    for _ in range(4):
        engine.step(batch)
        torch_step(head, batch)
    assert largest_relative_difference(engine.parameters(), head.parameters()) < 1e-5


def test_many_rows_take_this_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule sees the number of rows, so that one head has graphs of both kinds. Both read the same positions."""
    head = Head(small_tail(), (4, 4, 4), tmp_path)
    kernel = "body.2.weight@4"

    def readers(samples: int) -> set[str]:
        step = build_step(head.model, head.info, samples, 0, in_place=True)
        assert update_hazards(step) == []
        return {node.op_type for node in step.graph.node if kernel in node.input}

    monkeypatch.setattr(winograd, "FEWEST_ROWS", 4 * 4 * 3)
    assert readers(2) == {"Gemm", "Reshape"}
    assert readers(3) == {"Add", "Sub"}
