"""Steps can't blow up, whatever the head and the rate; a resumed task with smaller steps ends in the same weights."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lightcl_edge.learning.checkpoint import NOTE, Checkpoints
from lightcl_edge.learning.loop import MOST_RESTARTS
from lightcl_edge.learning.strategies.contract import Settings
from strategy_learner import CODEC, Learner

PLAIN = Settings(0.0, 0.0, 0)


def with_scaled_head(bundle, strategy, scale, seed=0):
    """A learner whose exported head has random weights of this size."""
    learner = Learner(bundle, strategy, "ort", PLAIN)
    rng = np.random.default_rng(seed)
    exported = {name: np.array(array) for name, array in learner.known.exported.items()}
    exported["block.weight"] = (rng.normal(size=exported["block.weight"].shape) * scale).astype(np.float32)
    learner.known = replace(learner.known, exported=exported, parameters=exported)
    return learner


@pytest.mark.parametrize("strategy", ["replay", "finetune", "lightcl"])
@pytest.mark.parametrize("scale", [1e-4, 30.0, 3e3, 1e6])
def test_a_head_with_badly_scaled_weights(bundle, strategy, scale):
    learner, start = (with_scaled_head(bundle, strategy, scale) for _ in range(2))
    start.rate = 1e-30
    for labels in ([0, 1] * 12, [2, 3] * 12):
        learner.learn(labels)
        start.learn(labels)
        assert all(np.isfinite(array).all() for array in learner.engine.parameters().values())
        assert np.isfinite(learner.logits(CODEC.decode(learner.images([0, 1], 3)))).all()
    if strategy == "replay":  # the others forget by nature
        assert learner.accuracy(range(4)) >= start.accuracy(range(4)) - 0.1 and learner.accuracy(range(4)) > 0.6


def test_smaller_steps_help_where_the_rate_was_too_large(bundle):
    learner = with_scaled_head(bundle, "replay", 30.0)
    learner.rate = 1.0
    notes = []
    learner.note = notes.append
    outcome = learner.learn([0, 1] * 12, epochs=6)
    assert outcome.improved and 0 < len(notes) <= MOST_RESTARTS and learner.accuracy([0, 1]) > 0.8


class Stopped(Exception):
    """The power went."""


class EveryStep(Checkpoints):
    """Saves after each step, until it stops the run."""

    def __init__(self, folder, stop_after):
        super().__init__(folder, "key")
        self._left = stop_after

    def due(self):
        return True

    def save(self, position, parameters):
        super().save(position, parameters)
        self._left -= 1
        if not self._left:
            raise Stopped


def test_a_resumed_task_with_smaller_steps_ends_in_the_same_weights(bundle, tmp_path):
    whole, cut, resumed = (with_scaled_head(bundle, "replay", 30.0) for _ in range(3))
    for learner in (whole, cut, resumed):
        learner.rate = 1.0
    expected = whole.learn([0, 1] * 12, epochs=6)
    with pytest.raises(Stopped):
        cut.learn([0, 1] * 12, epochs=6, checkpoints=EveryStep(tmp_path, 12))
    assert json.loads((tmp_path / NOTE).read_text())["position"]["restarts"] > 0
    found = resumed.learn([0, 1] * 12, epochs=6, checkpoints=Checkpoints(tmp_path, "key"))
    assert found.resumed and (found.loss, found.improved) == (expected.loss, expected.improved)
    for name, array in resumed.engine.parameters().items():
        assert array.tobytes() == whole.engine.parameters()[name].tobytes(), name
