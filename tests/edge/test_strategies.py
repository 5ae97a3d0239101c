"""One suite that every strategy passes on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from lightcl_edge.bundle import Bundle
from lightcl_edge.engines.contract import Batch
from lightcl_edge.engines.select import choose_engine, make_engine
from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.strategies import STRATEGIES, make_strategy
from lightcl_edge.strategies.contract import Settings, Task
from lightcl_edge.strategies.lightcl import important_channels
from small_bundle import CAPACITY, CHANNELS

SETTINGS = Settings(beta=1e-3, ratio=0.25, buffer_samples=3)
PAIRS = [(strategy, engine) for strategy in sorted(STRATEGIES) for engine in ("ort", "torch")]


class Learner:
    """A strategy on an engine, as the training loop drives it."""

    def __init__(self, folder, strategy, engine):
        bundle = Bundle.open(folder)
        self.head = bundle.manifest.head
        self.strategy = make_strategy(strategy, self.head, SETTINGS)
        self.engine = make_engine(choose_engine(engine, bundle), bundle, 1)
        self.engine.load(bundle.head_parameters())
        self.known = 0

    def task(self, number, seed=0, steps=4):
        """One task of two classes; gives the losses and the inputs' digest before and after."""
        rng = np.random.default_rng([seed, number])
        rows = [number % CAPACITY, (number + 1) % CAPACITY]
        self.known = max(self.known, *(row + 1 for row in rows))
        labels = np.array(rows * 6)
        features = np.abs(rng.normal(size=(12, CHANNELS, 4, 4)) + labels[:, None, None, None] * 0.2).astype(np.float32)
        original = features.copy()
        task = Task(number, labels, self.known, np.arange(8), lambda positions: features[positions])
        term = self.strategy.begin(task, self.engine)
        mask = np.repeat(self.strategy.active_classes(task).astype(np.float32)[None], 8, axis=0)
        losses = []
        for _ in range(steps):
            chosen = rng.permutation(12)[:8]
            weights = np.full(8, 1 / 8, np.float32)
            losses.append(self.engine.step(Batch(features[chosen], labels[chosen], mask, weights, 0.02, term)))
        assert (features == original).all(), "the inputs were changed"
        return losses

    def memory_bytes(self):
        return sum(array.nbytes for array in self.strategy.memory().values())


@pytest.fixture(params=PAIRS, ids="-".join)
def make(request, bundle):
    """Makes learners of one kind."""
    return lambda engine=None: Learner(bundle, request.param[0], engine or request.param[1])


def test_predicts_before_any_learning(make):
    assert make().engine.logits(np.zeros((2, CHANNELS, 4, 4), np.float32)).shape == (2, CAPACITY)


def test_learns_what_it_sees(make):
    losses = make().task(0, steps=40)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_seeded_runs_repeat_bit_for_bit(make):
    one, two = make(), make()
    for number in range(3):
        assert one.task(number) == two.task(number)
    for name, array in one.engine.parameters().items():
        assert array.tobytes() == two.engine.parameters()[name].tobytes()


def test_saved_and_reloaded_goes_on_alike(make):
    one, two = make(), make()
    one.task(0), one.task(1)
    two.strategy.restore(one.strategy.memory())
    two.engine.load(one.engine.parameters())
    two.known = one.known
    assert one.task(2) == two.task(2)


def test_memory_stays_bounded_over_50_tasks(make):
    learner = make()
    sizes = []
    for number in range(50):
        learner.task(number, steps=0)
        sizes.append(learner.memory_bytes())
    assert sizes[-1] == sizes[2] <= 4096, sizes


def test_the_engines_agree(make):
    one, two = make("ort"), make("torch")
    for number in range(3):
        assert one.task(number, steps=7) == pytest.approx(two.task(number, steps=7), rel=1e-4)
    for name, array in one.engine.parameters().items():
        expected = two.engine.parameters()[name]
        assert np.abs(array - expected).max() <= 1e-4 * np.abs(expected).max(), name


def test_importance_is_the_sum_of_absolute_activations():
    values = np.zeros((2, 5, 3), np.float32)
    values[:, 1], values[:, 3], values[0, 4] = -2, 1, 9
    assert important_channels(values, 0.4).tolist() == [0, 1, 0, 0, 1]
    assert important_channels(values, 0.0).tolist() == [0, 0, 0, 0, 1]


def test_the_pattern_term_as_published(bundle):
    """Second task: targets are the old head's activations; masks join by a logical or."""
    learner = Learner(bundle, "lightcl", "torch")
    features = np.abs(np.random.default_rng(0).normal(size=(6, CHANNELS, 4, 4))).astype(np.float32)
    labels = np.array([2, 3] * 3)
    assert learner.strategy.begin(Task(0, labels, 2, np.arange(6), features.__getitem__), learner.engine) is None
    earlier = np.zeros(learner.head.penultimate_size, bool)
    earlier[:3] = True
    learner.strategy.restore({"relu": earlier})
    term = learner.strategy.begin(Task(1, labels, 4, np.arange(6), features.__getitem__), learner.engine)
    assert term is not None and term.beta == SETTINGS.beta and len(term.features) == SETTINGS.buffer_samples
    expected = learner.engine.activations(features[:3], ["relu", "logits"])
    assert all((term.targets[name] == expected[name]).all() for name in expected)
    found = important_channels(expected["relu"], SETTINGS.ratio)
    assert (term.masks["relu"] == np.maximum(found, earlier)).all()
    assert term.masks["logits"].tolist() == [1, 1, 1, 1, 0, 0]


def test_active_classes(bundle):
    two = Task(1, np.array([2, 3]), 4, np.arange(2), lambda rows: rows)
    one = Task(1, np.array([3, 3]), 4, np.arange(2), lambda rows: rows)
    active = {name: Learner(bundle, name, "torch").strategy.active_classes for name in STRATEGIES}
    assert np.flatnonzero(active["lightcl"](two)).tolist() == [2, 3]
    assert np.flatnonzero(active["lightcl"](one)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(active["finetune"](two)).tolist() == [0, 1, 2, 3]


def test_strangers_are_refused(bundle):
    learner = Learner(bundle, "lightcl", "torch")
    with pytest.raises(StateError, match="another bundle"):
        learner.strategy.restore({"elsewhere": np.ones(3)})
    with pytest.raises(UsageError, match="expected one of finetune, lightcl"):
        make_strategy("magic", learner.head, SETTINGS)
