"""Twenty steps through the last stages of today's networks, on both engines, against autograd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from network_stages import STAGES, TrainedStage
from step_reference import largest_relative_difference

STEPS = 20
#: Exporting takes seconds for each; two of them hold most operators.
FAST = {"convnext_v2", "vit"}
#: Tables of positions stay as they are.
FROZEN = ("relative_position_bias_table", "attention_biases")


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in STAGES]
)
def test_last_stage(name: str, tmp_path: Path) -> None:
    trained = TrainedStage(name, tmp_path)
    assert all(left.endswith(FROZEN) for left in trained.frozen), trained.frozen
    batches = trained.batches(STEPS)
    expected = trained.train_stage(batches)
    moved = {key: np.abs(expected[key] - start).max() for key, start in trained.start.items()}
    assert min(moved.values()) > 0 and max(moved.values()) > 1e-2
    for kind in ("in_place", "accumulate", "torch"):
        engine = trained.engine(kind)
        for batch in batches:
            engine.step(batch)
        difference = largest_relative_difference(engine.parameters(), expected)
        print(f"{name} {kind}: {difference:.2g}")
        assert difference < 1e-4, kind
