"""Convolutions of small images: dense ones with fewer products, grouped ones as blocks. Limits on sizes are lowered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from autodiff_check import check_rule, node, normal
from head_export import Tail
from lightcl_host.autodiff.convolution import blocks, winograd
from step_reference import Head, largest_relative_difference, random_batch, torch_step


@pytest.fixture(autouse=True)
def _for_small_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "FEWEST_SAMPLES", 1)
    for name in ("FEWEST_ROWS", "FEWEST_CHANNELS", "FEWEST_SAMPLES"):
        monkeypatch.setattr(winograd, name, 1)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.integers(1, 3)] * 4),
    st.tuples(*[st.integers(1, 8)] * 2),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.integers(1, 2),
    st.sampled_from([1, 4000, 2**22]),
    st.sampled_from(["xwb", "xw", "w", "x"]),
)
def test_any_geometry(
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, int, int, int],
    image: tuple[int, int],
    pads: tuple[int, int, int, int],
    stride: int,
    chunk_bytes: int,
    wanted: str,
) -> None:
    samples, groups, channels, filters = sizes
    monkeypatch.setattr(blocks, "CHUNK_BYTES", chunk_bytes)
    sides = tuple(max(side, 3 - pads[at] - pads[at + 2]) for at, side in enumerate(image))
    inputs = {"x": normal(1, samples, groups * channels, *sides), "w": normal(2, groups * filters, channels, 3, 3)}
    if "b" in wanted:
        inputs["b"] = normal(3, groups * filters)
    top, left, bottom, right = pads

    def reference(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        padded = nn.functional.pad(x, (left, right, top, bottom))
        return nn.functional.conv2d(padded, w, b, stride, groups=groups)

    layer = node("Conv", list(inputs), pads=pads, strides=[stride] * 2, group=groups)
    check_rule([layer], inputs, reference, wanted=list(wanted))


def tail(groups: int) -> Tail:
    torch.manual_seed(0)
    between = [nn.ReLU(), nn.Conv2d(12, 8, 1, bias=False), nn.ReLU()]
    ends = [nn.Conv2d(*sides, 3, padding=1, groups=groups) for sides in ((6, 12), (8, 4))]
    return Tail(nn.Sequential(ends[0], *between, ends[1], nn.ReLU()), 4, 5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("update", ["in_place", "accumulate"])
def test_steps(update: str, groups: int, tmp_path: Path) -> None:
    head = Head(tail(groups), (6, 4, 4), tmp_path)
    engine, batch = head.engine(update), random_batch(head, 6, 3, learning_rate=0.1)
    for _ in range(4):
        engine.step(batch)
        torch_step(head, batch)
    assert largest_relative_difference(engine.parameters(), head.parameters()) < 1e-5
