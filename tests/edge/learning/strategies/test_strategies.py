"""One suite that every strategy passes on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.learning.engines.select import choose_engine, make_engine
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import choose_strategy
from lightcl_edge.learning.strategies.contract import Settings, Task
from lightcl_edge.learning.strategies.lightcl import important_channels
from lightcl_edge.learning.strategies.replay import LARGEST_WEIGHT, Replay
from lightcl_edge.learning.strategies.statistics import SHRINKAGE
from lightcl_edge.learning.strategies.strategy_state import forget_row, joined, part_of
from small_bundle import CAPACITY, CHANNELS, FEATURE

SETTINGS = Settings(beta=1e-3, ratio=0.25, pattern_samples=3)
PAIRS = [(strategy, engine) for strategy in sorted(STRATEGIES) for engine in ("ort", "torch")]
CODEC = FeatureCodec(FEATURE)
IDENTITY = BufferIdentity("ab" * 32, FEATURE)
LIMIT = 24


class Learner:
    """A strategy on an engine with its memory, as the training loop drives it."""

    def __init__(self, folder, strategy, engine, settings=SETTINGS):
        bundle = Bundle.open(folder)
        self.head, self.exported = bundle.manifest.head, bundle.head_parameters()
        self.name, self.settings = strategy, settings
        self.engine = make_engine(choose_engine(engine, bundle), bundle, 1)
        self.engine.load(self.exported)
        self.buffer, self.kept, self.known, self.tasks = FeatureBuffer.empty(IDENTITY), {}, 0, 0

    def images(self, labels, seed):
        """Stored features that tell their class."""
        rng = np.random.default_rng(seed)
        real = np.abs(rng.normal(size=(len(labels), CHANNELS, 4, 4)))
        real[np.arange(len(labels)), np.asarray(labels) * 2] += 4.0
        return CODEC.encode(real.astype(np.float32))

    def learn(self, labels, seed=0, steps=4):
        """One task; gives the losses."""
        rng = np.random.default_rng([seed, 5])
        labels = np.asarray(labels)
        stored = self.images(labels, [seed, len(labels)])
        original, rows = stored.copy(), np.arange(len(labels))
        known_before = self.buffer.features.copy()
        self.known = max(self.known, int(labels.max()) + 1)
        read = lambda positions: CODEC.decode(stored[positions])  # noqa: E731
        task = Task(self.tasks, labels, self.known, rows[:8], read, rows, self.buffer, self.exported)
        strategy = STRATEGIES[self.name](self.head, self.settings)
        strategy.restore(part_of(self.kept, strategy.part))
        term = strategy.begin(task, self.engine)
        losses = []
        for step in range(steps if strategy.trains_head else 0):
            places = rng.permutation(strategy.pool(task))[:8]
            batch = strategy.compose(task, places, 0.02 * strategy.rate(step / steps), term)
            assert len(batch.labels) == len(places) and np.isfinite(batch.weights).all()
            losses.append(self.engine.step(batch))
        strategy.finish(task, self.engine)
        assert (stored == original).all() and (self.buffer.features == known_before).all(), "the inputs were changed"
        self.kept, self.tasks = joined(self.kept, strategy), self.tasks + 1
        self.buffer = fill(self.buffer, stored.__getitem__, rows, labels, LIMIT, rng)
        return losses

    def task(self, number, seed=0, steps=4):
        """One task of two classes."""
        return self.learn([number % CAPACITY, (number + 1) % CAPACITY] * 6, seed * 100 + number, steps)

    def accuracy(self, rows, seed=99):
        labels = np.repeat(rows, 8)
        logits = self.engine.logits(CODEC.decode(self.images(labels, seed)))[:, : self.known]
        return (logits.argmax(axis=1) == labels).mean()

    def memory_bytes(self):
        return self.buffer.bytes + sum(array.nbytes for array in self.kept.values())


@pytest.fixture(params=PAIRS, ids="-".join)
def make(request, bundle):
    """Makes learners of one kind."""
    return lambda engine=None: Learner(bundle, request.param[0], engine or request.param[1])


def test_predicts_before_any_learning(make):
    assert make().engine.logits(np.zeros((2, CHANNELS, 4, 4), np.float32)).shape == (2, CAPACITY)


def test_learns_what_it_sees(make):
    learner = make()
    learner.learn([0, 1] * 6, steps=60)
    assert learner.accuracy([0, 1]) > 0.8


def test_seeded_runs_repeat_bit_for_bit(make):
    one, two = make(), make()
    for number in range(3):
        assert one.task(number) == two.task(number)
    for name, array in one.engine.parameters().items():
        assert array.tobytes() == two.engine.parameters()[name].tobytes()


def test_saved_and_reloaded_goes_on_alike(make, tmp_path):
    one, two = make(), make()
    one.task(0), one.task(1)
    write_tensors(tmp_path / "kept", one.kept)
    write_tensors(tmp_path / "buffer", one.buffer.tensors())
    one.kept = read_tensors(tmp_path / "kept", StateError)
    two.kept, two.known, two.tasks = dict(one.kept), one.known, one.tasks
    two.buffer = FeatureBuffer.from_tensors(read_tensors(tmp_path / "buffer", StateError), IDENTITY)
    two.engine.load(one.engine.parameters())
    assert one.task(2) == two.task(2)
    assert one.engine.parameters()["classifier.weight"].tobytes() == (
        two.engine.parameters()["classifier.weight"].tobytes()
    )


def test_memory_stays_bounded_over_50_tasks(make):
    learner = make()
    sizes = []
    for number in range(50):
        learner.task(number, steps=0)
        sizes.append(learner.memory_bytes())
    assert sizes[-1] == sizes[6] <= LIMIT * (IDENTITY.sample_bytes + 16) + 8192, sizes
    assert len(learner.buffer) == LIMIT


def test_the_engines_agree(make):
    one, two = make("ort"), make("torch")
    for number in range(3):
        assert one.task(number, steps=7) == pytest.approx(two.task(number, steps=7), rel=1e-3)
    for name, array in one.engine.parameters().items():
        expected = two.engine.parameters()[name]
        assert np.abs(array - expected).max() <= 1e-3 * np.abs(expected).max(), name


def test_new_classes_more_images_and_a_single_one_in_any_order(make):
    learner = make()
    for labels in ([2], [0, 1] * 4, [2, 2, 2, 0], [3] * 5, [4], [1, 3] * 3):
        learner.learn(labels, seed=len(labels))
        assert np.isfinite(learner.engine.logits(np.ones((1, CHANNELS, 4, 4), np.float32))).all()
    assert (learner.buffer.seen == np.bincount([2, *[0, 1] * 4, 2, 2, 2, 0, *[3] * 5, 4, *[1, 3] * 3])).all()


@pytest.mark.parametrize("strategy", ["replay", "slda", "ncm"])
def test_what_remembers_does_not_forget(bundle, strategy):
    """Ten samples a class, a class at a time: the first is still known at the end."""
    learner = Learner(bundle, strategy, "ort")
    for row in range(CAPACITY):
        learner.learn([row] * 10, seed=row, steps=10)
    assert learner.accuracy(range(CAPACITY)) > 0.8 and learner.accuracy([0]) > 0.7


@pytest.mark.parametrize("strategy", ["slda", "ncm"])
def test_the_order_of_tasks_does_not_matter(bundle, strategy):
    tasks = {0: [0] * 7, 1: [1] * 9, 2: [2] * 5}
    found = []
    for order in ((0, 1, 2), (2, 0, 1)):
        learner = Learner(bundle, strategy, "ort")
        learner.known = 3
        for number in order:
            learner.learn(tasks[number], seed=number)
        found.append(learner.engine.parameters()["classifier.weight"][:3])
    assert np.abs(found[0] - found[1]).max() < 1e-4 * np.abs(found[0]).max()


def test_slda_is_the_batch_analysis(bundle):
    """Against scikit-learn-free textbook formulas on all samples at once."""
    learner = Learner(bundle, "slda", "torch")
    values, labels = [], []
    for number, rows in enumerate(([0, 1] * 6, [2] * 9, [1, 2, 0] * 3)):
        stored = learner.images(np.array(rows), [number, len(rows)])
        values.append(learner.engine.activations(CODEC.decode(stored), ["penultimate"])["penultimate"])
        labels += rows
        learner.learn(rows, seed=number)
    x, y = np.concatenate(values).astype(np.float64), np.array(labels)
    means = np.stack([x[y == row].mean(axis=0) for row in range(3)])
    centred = x - means[y]
    scatter = centred.T @ centred / len(x)
    shrunk = (1 - SHRINKAGE) * scatter + SHRINKAGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    weights = np.linalg.solve(shrunk, means.T).T
    found = learner.engine.parameters()["classifier.weight"][:3]
    assert np.abs(found - weights).max() < 1e-3 * np.abs(weights).max()


def test_a_strategy_takes_over_from_another(bundle):
    """Classes that lightcl learned are taken from the buffer; slda and replay share their statistics."""
    learner = Learner(bundle, "lightcl", "ort")
    learner.learn([0, 1] * 8, steps=20)
    learner.name = "slda"
    learner.learn([2, 3] * 8, seed=1)
    assert learner.accuracy(range(4)) > 0.8 and part_of(learner.kept, "slda")["counts"].tolist() == [8, 8, 8, 8]
    learner.name = "replay"
    learner.learn([4] * 8, seed=2, steps=10)
    assert learner.accuracy(range(5)) > 0.8 and set(learner.kept) >= {"slda:means"}


@pytest.mark.parametrize("strategy", ["replay", "slda", "ncm", "lightcl"])
def test_forgetting_a_class(bundle, strategy):
    learner = Learner(bundle, strategy, "ort")
    for number, rows in enumerate(([0, 1] * 8, [2, 3] * 8)):
        learner.learn(rows, seed=number, steps=10)
    kept = part_of(learner.kept, STRATEGIES[strategy].part)
    learner.kept = forget_row(learner.kept, learner.head, 1)
    left = part_of(learner.kept, STRATEGIES[strategy].part)
    if strategy == "lightcl":
        assert left["logits"].tolist() == [1, 1, 1, 0, 0, 0]
        return
    assert (left["means"] == kept["means"][[0, 2, 3]]).all() and not left["scatter"].any()
    learner.buffer, learner.known = learner.buffer.forget(1), 3
    learner.learn([3, 2] * 4, seed=5, steps=10)  # the class that was row 3 is row 2 now, and there is a new one
    after = part_of(learner.kept, STRATEGIES[strategy].part)
    assert after["scattered"][0] > 8 and learner.known == 4


def test_replay_weighs_classes_alike_and_bounds_a_single_image(bundle):
    learner = Learner(bundle, "replay", "torch")
    learner.learn([0] * 12 + [1] * 12)
    strategy = STRATEGIES["replay"](learner.head, SETTINGS)
    task = Task(1, np.array([2]), 3, np.arange(1), lambda rows: rows, np.arange(1), learner.buffer)
    weights = strategy.sample_weights(task, np.array([0, 1, 2]))
    assert weights[0] == pytest.approx(25 / 3 / 12) and weights[2] == LARGEST_WEIGHT
    assert sorted(strategy.pool(task)) == [*range(-24, 0), 0]


def test_replay_keeps_a_part_of_the_way(bundle):
    trained, kept = (Learner(bundle, "replay", "torch", Settings(0.0, 0.0, 0)) for _ in range(2))
    start = trained.exported["block.weight"]
    trust = Replay.trust
    try:
        Replay.trust = 1.0
        trained.learn([0, 1] * 6, steps=10)
    finally:
        Replay.trust = trust
    kept.learn([0, 1] * 6, steps=10)
    whole = trained.engine.parameters()["block.weight"] - start
    assert np.abs(whole).max() > 1e-4
    part = kept.engine.parameters()["block.weight"] - start
    assert np.allclose(part, trust * whole, atol=1e-6)


def test_replay_with_the_pattern_term(bundle):
    learner = Learner(bundle, "replay", "ort")
    learner.learn([0, 1] * 6)
    learner.learn([2, 3] * 6, seed=1)
    assert {"slda:mask/relu", "slda:mask/logits", "slda:means"} <= set(learner.kept)


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
    strategy = STRATEGIES["lightcl"](learner.head, SETTINGS)
    assert strategy.begin(Task(0, labels, 2, np.arange(6), features.__getitem__), learner.engine) is None
    earlier = np.zeros(learner.head.penultimate_size, bool)
    earlier[:3] = True
    strategy.restore({"relu": earlier})
    term = strategy.begin(Task(1, labels, 4, np.arange(6), features.__getitem__), learner.engine)
    assert term is not None and term.beta == SETTINGS.beta and len(term.features) == SETTINGS.pattern_samples
    expected = learner.engine.activations(features[:3], ["relu", "logits"])
    assert all((term.targets[name] == expected[name]).all() for name in expected)
    found = important_channels(expected["relu"], SETTINGS.ratio)
    assert (term.masks["relu"] == np.maximum(found, earlier)).all()
    assert term.masks["logits"].tolist() == [1, 1, 1, 1, 0, 0]


def test_active_classes(bundle):
    two = Task(1, np.array([2, 3]), 4, np.arange(2), lambda rows: rows)
    one = Task(1, np.array([3, 3]), 4, np.arange(2), lambda rows: rows)
    head = Bundle.open(bundle).manifest.head
    active = {name: STRATEGIES[name](head, SETTINGS).active_classes for name in STRATEGIES}
    assert np.flatnonzero(active["lightcl"](two)).tolist() == [2, 3]
    assert np.flatnonzero(active["lightcl"](one)).tolist() == [0, 1, 2, 3]
    for name in ("finetune", "replay", "slda", "ncm"):
        assert np.flatnonzero(active[name](two)).tolist() == [0, 1, 2, 3]


def test_strangers_are_refused(bundle):
    head = Bundle.open(bundle).manifest.head
    with pytest.raises(StateError, match="another bundle"):
        STRATEGIES["lightcl"](head, SETTINGS).restore({"elsewhere": np.ones(3)})
    with pytest.raises(StateError, match="another bundle"):
        STRATEGIES["slda"](head, SETTINGS).restore({"means": np.ones((3, 5))})
    with pytest.raises(UsageError, match="expected one of auto, finetune, lightcl"):
        choose_strategy("magic", Bundle.open(bundle).manifest, "ort", None)
