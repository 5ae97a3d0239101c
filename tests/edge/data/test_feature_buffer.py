"""The long-term memory: fair, bounded, uniform, and bound to its trunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightcl_edge.bundle.manifest import FeatureInfo
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer, buffer_limit, quotas
from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.tensors import read_tensors, write_tensors

FEATURE = FeatureInfo([2, 1, 1], [0.5, 0.25], [0, 3])
IDENTITY = BufferIdentity("ab" * 32, FEATURE)


def offered(values, labels):
    """Features whose first byte is the sample's number."""
    features = np.zeros((len(values), 2, 1, 1), np.uint8)
    features[:, 0, 0, 0] = values
    return features.__getitem__, np.arange(len(values)), np.asarray(labels, np.int64)


def filled(buffer, values, labels, limit, seed=0, kind="reservoir"):
    return fill(buffer, *offered(values, labels), limit, np.random.default_rng(seed), kind)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 100))
def test_shares_are_fair(counts, limit):
    counts = np.array(counts)
    granted = quotas(counts, limit)
    assert (granted <= counts).all() and granted.sum() == min(limit, counts.sum())
    short = granted[granted < counts]
    if len(short):  # nobody who could have more has less than another, by more than one
        assert granted.max() <= short.min() + 1


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=20), min_size=1, max_size=8),
    st.integers(1, 25),
    st.sampled_from(["reservoir", "herding"]),
)
def test_any_order_of_tasks_stays_bounded_and_counts_everything(tasks, limit, kind):
    buffer = FeatureBuffer.empty(IDENTITY)
    for number, labels in enumerate(tasks):
        before = buffer.features.copy()
        after = filled(buffer, range(len(labels)), labels, limit, number, kind)
        assert (buffer.features == before).all(), "the buffer was changed"
        buffer = after
    everything = np.bincount(np.concatenate([np.array(labels) for labels in tasks]))
    assert (buffer.seen == everything).all() and len(buffer) == min(limit, everything.sum())
    assert (np.bincount(buffer.labels, minlength=len(everything)) == quotas(everything, limit)).all()


def test_the_reservoir_is_uniform_whatever_the_tasks():
    """Each of 40 samples of one class, offered in four tasks while others crowd in, stays about equally often."""
    hits = np.zeros(40)
    for seed in range(600):
        buffer = FeatureBuffer.empty(IDENTITY)
        for task in range(4):
            values = [*range(task * 10, task * 10 + 10), 200, 201]
            buffer = filled(buffer, values, [0] * 10 + [task + 1] * 2, 10, seed * 7 + task)
        kept = buffer.features[buffer.labels == 0][:, 0, 0, 0]
        hits[kept] += 1
    expected = hits.sum() / 40
    assert np.abs(hits - expected).max() < 5 * np.sqrt(expected), hits


def test_herding_comes_near_the_mean():
    rng = np.random.default_rng(0)
    features = np.clip(rng.normal(128, 40, (200, 2, 1, 1)), 0, 255).astype(np.uint8)
    labels = np.zeros(200, np.int64)

    def distance(kind):
        buffer = fill(FeatureBuffer.empty(IDENTITY), features.__getitem__, np.arange(200), labels, 8, rng, kind)
        return np.abs(buffer.features.mean(axis=0) - features.mean(axis=0)).max()

    assert distance("herding") < 2 < np.mean([distance("reservoir") for _ in range(20)])


def test_what_is_written_is_read(tmp_path):
    buffer = filled(FeatureBuffer.empty(IDENTITY), range(9), [0, 1, 2] * 3, 7)
    write_tensors(tmp_path / "b", buffer.tensors())
    again = FeatureBuffer.from_tensors(read_tensors(tmp_path / "b", StateError), IDENTITY)
    for name, array in buffer.tensors().items():
        assert (again.tensors()[name] == array).all(), name
    assert (again.read(np.array([0]))[0, :, 0, 0] == (buffer.features[0, :, 0, 0] - [0, 3.0]) * [0.5, 0.25]).all()
    assert len(FeatureBuffer.from_tensors({}, IDENTITY)) == 0


def test_another_trunk_or_scale_is_refused():
    tensors = filled(FeatureBuffer.empty(IDENTITY), range(3), [0, 1, 2], 3).tensors()
    with pytest.raises(StateError, match="belongs to the trunk abababababab"):
        FeatureBuffer.from_tensors(tensors, replace(IDENTITY, trunk_sha256="cd" * 32))
    with pytest.raises(StateError, match="another scale"):
        FeatureBuffer.from_tensors(tensors, replace(IDENTITY, feature=replace(FEATURE, scale=[0.5, 0.26])))
    for change in ({"labels": np.array([0, 1])}, {"labels": np.array([0, 1, 7])}, {"seen": np.array([[1]])}):
        with pytest.raises(StateError, match="do not fit"):
            FeatureBuffer.from_tensors({**tensors, **change}, IDENTITY)
    with pytest.raises(StateError, match="expected"):
        FeatureBuffer.from_tensors({"features": tensors["features"]}, IDENTITY)


def test_forgetting_a_class_moves_the_rows_above_it_down():
    buffer = filled(FeatureBuffer.empty(IDENTITY), range(8), [0, 0, 1, 1, 1, 2, 2, 3], 8)
    left = buffer.forget(1)
    assert sorted(left.labels.tolist()) == [0, 0, 1, 1, 2] and left.seen.tolist() == [2, 2, 1]
    assert sorted(left.features[:, 0, 0, 0].tolist()) == [0, 1, 5, 6, 7]


def test_sizes():
    assert buffer_limit("12", IDENTITY) == 12 and buffer_limit("0", IDENTITY) == 0
    assert buffer_limit("18KiB", IDENTITY) == 1024 and buffer_limit(None, IDENTITY) == 2_000_000 // 18
    for text in ("many", "-3", "17B", "1.5"):
        with pytest.raises(UsageError):
            buffer_limit(text, IDENTITY)
    with pytest.raises(UsageError, match="reservoir, herding"):
        filled(FeatureBuffer.empty(IDENTITY), [1], [0], 1, kind="magic")
