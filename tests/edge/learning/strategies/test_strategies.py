"""One suite that every strategy passes on every engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.graph_names import MASKED_LOGIT
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.closed_form.analysis import analysis_rows
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import choose_strategy
from lightcl_edge.learning.strategies.contract import Settings, Task
from lightcl_edge.learning.strategies.lightcl import important_channels
from lightcl_edge.learning.strategies.replay import Replay
from lightcl_edge.learning.strategies.strategy_state import forget_row, part_of
from normal_samples import pooled_of
from small_bundle import CAPACITY, CHANNELS
from strategy_learner import CODEC, IDENTITY, LIMIT, SETTINGS, Learner

PAIRS = [(strategy, engine) for strategy in sorted(STRATEGIES) for engine in ("ort", "torch")]


@pytest.fixture(params=PAIRS, ids="-".join)
def make(request, bundle):
    """Makes learners of one kind."""
    return lambda engine=None: Learner(bundle, request.param[0], engine or request.param[1])


def test_predicts_before_any_learning(make):
    assert make().engine.logits(np.zeros((2, CHANNELS, 4, 4), np.float32)).shape == (2, CAPACITY)


def test_learns_what_it_sees(make):
    learner = make()
    learner.learn([0, 1] * 6, epochs=30)
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
    write_tensors(tmp_path / "buffer", one.known.buffer.tensors())
    write_tensors(tmp_path / "classifier", one.known.classifier.tensors())
    one.kept, two.sums = read_tensors(tmp_path / "kept", StateError), one.sums
    two.kept = dict(one.kept)
    buffer = FeatureBuffer.from_tensors(read_tensors(tmp_path / "buffer", StateError), IDENTITY)
    tensors = read_tensors(tmp_path / "classifier", StateError)
    classifier = LearnedClassifier.from_tensors(tensors, one.known.classes, two.sums.size)
    two.known = replace(one.known, buffer=buffer, classifier=classifier, exported=two.known.exported)
    assert one.task(2) == two.task(2)
    for name in ("classifier.weight", "block.weight"):
        assert one.engine.parameters()[name].tobytes() == two.engine.parameters()[name].tobytes()
    assert one.known.classifier.weights.tobytes() == two.known.classifier.weights.tobytes()


def test_memory_stays_bounded_over_50_tasks(make):
    learner = make()
    sizes = []
    for number in range(50):
        learner.task(number, epochs=0)
        sizes.append(learner.memory_bytes())
    triangles = CAPACITY * (2 * learner.sums.size**2 + 16 * learner.sums.size)
    assert max(sizes) <= LIMIT * (IDENTITY.sample_bytes + 16) + triangles + 8192, sizes
    assert sizes[-1] == sizes[-7], "as soon as each class has more samples than a sample has numbers"
    assert len(learner.known.buffer) == LIMIT


def test_the_engines_agree(make):
    one, two = make("ort"), make("torch")
    for number in range(3):
        assert one.task(number).loss == pytest.approx(two.task(number).loss, rel=1e-3)
    for name, array in one.engine.parameters().items():
        expected = two.engine.parameters()[name]
        assert np.abs(array - expected).max() <= 1e-3 * np.abs(expected).max(), name


def test_new_classes_more_images_and_a_single_one_in_any_order(make):
    learner = make()
    for labels in ([0], [1, 2] * 4, [0, 0, 0, 1], [3] * 5, [4], [2, 3] * 3):
        learner.learn(labels, seed=len(labels))
        assert np.isfinite(learner.logits(np.ones((1, CHANNELS, 4, 4), np.float32))).all()
    assert (learner.known.buffer.seen == np.bincount([0, *[1, 2] * 4, 0, 0, 0, 1, *[3] * 5, 4, *[2, 3] * 3])).all()


@pytest.mark.parametrize("strategy", ["replay", "slda", "ncm"])
def test_what_remembers_does_not_forget(bundle, strategy):
    """Ten samples a class, a class at a time: the first is still known at the end."""
    learner = Learner(bundle, strategy, "ort")
    for row in range(CAPACITY):
        learner.learn([row] * 10, seed=row)
    assert learner.accuracy(range(CAPACITY)) > 0.8 and learner.accuracy([0]) > 0.7


@pytest.mark.parametrize("strategy", ["slda", "ncm"])
def test_the_order_of_tasks_does_not_matter(bundle, strategy):
    tasks = {0: [0] * 7, 1: [1] * 9, 2: [2] * 5}
    found = []
    for order in ((0, 1, 2), (2, 0, 1)):
        learner = Learner(bundle, strategy, "ort")
        learner.known = replace(learner.known, classes=3)
        for number in order[:2]:
            learner.lesson(tasks[number], seed=number)
        learner.learn(tasks[order[2]], seed=order[2])
        found.append(learner.known.classifier.weights)
    assert np.abs(found[0] - found[1]).max() < 1e-6 * np.abs(found[0]).max()


@pytest.mark.parametrize("strategy", ["slda", "ncm"])
def test_a_closed_form_leaves_the_head_as_it_was_exported(bundle, strategy):
    learner = Learner(bundle, strategy, "ort")
    learner.task(0), learner.task(1)
    for name, array in learner.engine.parameters().items():
        assert array.tobytes() == learner.known.exported[name].tobytes()
    assert not learner.known.classifier.needs_head


def test_slda_is_the_analysis_of_all_taps(bundle):
    learner = Learner(bundle, "slda", "torch")
    values, labels = [], []
    for number, rows in enumerate(([0, 1] * 6, [2] * 9, [1, 2, 0] * 3)):
        stored = learner.images(np.array(rows), [number, len(rows)])
        values.append(learner.engine.activations(CODEC.decode(stored), ["taps"])["taps"])
        labels += rows
        learner.learn(rows, seed=number)
    expected = analysis_rows(pooled_of(np.concatenate(values).astype(np.float64), np.array(labels)))
    found = learner.known.classifier
    assert np.abs(found.weights - expected.weights).max() < 1e-2 * np.abs(expected.weights).max()
    assert found.temperature > 0 and found.closed_form_share == 1.0


@pytest.mark.parametrize(("first", "then"), [("lightcl", "slda"), ("slda", "finetune"), ("replay", "lightcl")])
def test_a_strategy_takes_over_from_another(bundle, first, then):
    """Every strategy keeps the sums; one that needs the head starts rows for all classes from the buffer."""
    learner = Learner(bundle, first, "ort")
    learner.learn([0, 1] * 8, epochs=10)
    learner.name = then
    learner.learn([2, 3] * 8, seed=1)
    assert learner.accuracy([0, 1]) > 0.4 and learner.accuracy([2, 3]) > 0.8
    assert learner.sums.counts == {"c0": 8, "c1": 8, "c2": 8, "c3": 8}
    learner.name = "replay"
    learner.learn([4] * 8, seed=2, epochs=10)
    assert learner.accuracy(range(5)) > 0.8


@pytest.mark.parametrize("strategy", ["replay", "lightcl"])
def test_forgetting_a_class_moves_the_masks(bundle, strategy):
    learner = Learner(bundle, strategy, "ort")
    for number, rows in enumerate(([0, 1] * 8, [2, 3] * 8)):
        learner.learn(rows, seed=number)
    left = part_of(forget_row(learner.kept, learner.head, 1), strategy)
    assert left["logits"].tolist() == [1, 1, 1, 0, 0, 0] and left["relu"].any()


def test_replay_weighs_classes_alike_and_bounds_a_single_image(bundle):
    learner = Learner(bundle, "replay", "torch")
    learner.learn([0] * 12 + [1] * 12)
    strategy = STRATEGIES["replay"](learner.head, SETTINGS)
    task = Task(1, np.array([2]), 3, np.arange(1), lambda rows: rows, np.arange(1), learner.known.buffer)
    weights = strategy.sample_weights(task, np.array([0, 1, 2]))
    assert weights[0] == pytest.approx(25 / 3 / 12) and weights[2] == Replay.largest_weight
    assert sorted(strategy.pool(task)) == [*range(-24, 0), 0]


def test_replay_trains_on_top_of_the_closed_form_without_each_samples_own_part(bundle):
    learner = Learner(bundle, "replay", "ort", Settings(0.0, 0.0, 0))
    learner.learn([0, 1] * 6)
    lesson, stored = learner.lesson([1, 2] * 6, seed=1)
    form = lesson.closed_form(lesson.pooled(), np.zeros((0, learner.sums.size), np.float32), np.zeros(0, np.int64))
    task, _ = lesson.start(form, 8, np.random.default_rng(0))
    assert lesson.strategy.begin(task, learner.engine) is None
    learner.engine.load(task.start)
    assert not learner.engine.logits(CODEC.decode(stored)).any(), "the head begins at zero"
    places = np.array([3, -2, 0])
    labels = np.array([2, learner.known.buffer.labels[1], 1])
    features = np.concatenate([CODEC.decode(stored[[3]]), learner.known.buffer.read([1]), CODEC.decode(stored[[0]])])
    taps = learner.engine.activations(features, ["taps"])["taps"]
    expected = form.classifier(1.0 / form.temperature, 0.0).logits(taps, None)
    expected[np.arange(3), labels] -= form.noise[labels] / form.temperature
    offsets = lesson.strategy.offsets(task, places)
    assert np.allclose(offsets[:, :3], expected, atol=1e-4) and (offsets[:, 3:] == MASKED_LOGIT).all()
    batch = lesson.strategy.compose(task, places, 0.1, None)  # new and remembered samples in any order
    assert np.array_equal(batch.features, features) and batch.labels.tolist() == labels.tolist()
    assert np.array_equal(batch.logit_offset, offsets)


def test_replay_joins_a_share_of_the_trained_head(bundle):
    learner = Learner(bundle, "replay", "torch", Settings(0.0, 0.0, 0))
    learner.learn([0, 1] * 12, epochs=5)
    classifier = learner.known.classifier
    assert classifier.head_share == Replay.head_share and classifier.temperature == 1.0
    learned = learner.engine.parameters()
    assert (
        learned["classifier.weight"].any() and (learned["block.weight"] != learner.known.exported["block.weight"]).any()
    )


def test_replay_with_the_pattern_term(bundle):
    learner = Learner(bundle, "replay", "ort")
    learner.learn([0, 1] * 6)
    learner.learn([2, 3] * 6, seed=1)
    assert {"replay:relu", "replay:logits"} <= set(learner.kept)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_one_image_beside_many(bundle, strategy):
    learner = Learner(bundle, strategy, "ort")
    learner.learn([0, 1] * 20)
    learner.learn([2], seed=1)
    assert learner.accuracy([2]) > 1 / 3


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_large_class_does_not_swallow_small_ones(bundle, strategy):
    few, many = (Learner(bundle, strategy, "ort") for _ in range(2))
    few.learn([0, 1, 2] * 8), many.learn([0] * 200 + [1, 2] * 8)
    assert many.accuracy(range(3)) >= few.accuracy(range(3)) - 0.03


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
        STRATEGIES["replay"](head, SETTINGS).restore({"elsewhere": np.ones(3)})
    with pytest.raises(UsageError, match="expected one of auto, finetune, lightcl"):
        choose_strategy("magic")


def test_classes_without_samples_need_the_head():
    assert choose_strategy("auto").name == "slda"
    chosen = choose_strategy("auto", ["old"])
    assert chosen.name == "lightcl" and "no samples of old" in chosen.reason
    assert choose_strategy("finetune", ["old"]).name == "finetune"
    for name in ("slda", "ncm", "replay"):
        with pytest.raises(UsageError, match="none of old; take --strategy lightcl"):
            choose_strategy(name, ["old"])
