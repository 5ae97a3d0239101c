"""Sums of classes: order, parts and forms do not matter, and a class can be taken out as if it had never been there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightcl_edge.data.class_sums import ClassSums, triangle_size
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import DataError, StateError
from lightcl_edge.files.tensors import read_tensors, write_tensors


def taps(count, size=6, seed=0):
    """Rows of length 1, as taps are, around a mean of their own."""
    random = np.random.default_rng(seed)
    rows = random.normal(random.normal(size=size), 0.5, (count, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def reference(rows):
    """Total and scatter of all samples at once."""
    rows = rows.astype(np.float16).astype(np.float64)
    return rows.sum(axis=0), (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))


def assert_equal(found, expected, tolerance=1e-5):
    """Counts and totals bit for bit; the scatter relative to its largest variance."""
    assert found.count == expected.count
    assert (found.total == expected.total).all()
    largest = max(float(np.trace(expected.scatter())), 1e-12)
    assert np.abs(found.scatter() - expected.scatter()).max() <= tolerance * largest
    assert (len(found.values) > 0) == (found.count < found.size) == (len(found.triangle) == 0)


@st.composite
def split(draw):
    """Samples in some order, cut into parts that are learned one by one, and how these are joined."""
    count = draw(st.integers(1, 40))
    rows = taps(count, draw(st.integers(1, 9)), draw(st.integers(0, 99)))
    order = np.array(draw(st.permutations(range(count))))
    cuts = sorted(draw(st.lists(st.integers(1, count - 1), unique=True, max_size=6))) if count > 1 else []
    return rows, np.split(rows[order], cuts), draw(st.randoms(use_true_random=False))


@settings(max_examples=100)
@given(split())
def test_any_order_of_any_parts_gives_the_same(case):
    rows, parts, random = case
    total, scatter = reference(rows)
    whole, one_by_one = ClassSums.of(rows), ClassSums.of(parts[0])
    for part in parts[1:]:
        one_by_one = one_by_one.add(part)
    merged = [ClassSums.of(part) for part in parts]
    while len(merged) > 1:  # few samples with a scatter, scatter with scatter, in any tree
        merged.append(merged.pop(random.randrange(len(merged))).merge(merged.pop(random.randrange(len(merged)))))
    for found in (whole, one_by_one, merged[0]):
        assert (found.total == total).all(), "a sum of float16 numbers is exact"
        assert np.abs(found.scatter() - scatter).max() <= 1e-5 * max(float(np.trace(scatter)), 1e-12)
        assert_equal(found, whole)


def test_one_image_has_a_mean_and_no_scatter():
    row = taps(1)
    sums = ClassSums.of(row)
    assert (sums.mean == row[0].astype(np.float16)).all() and not sums.scatter().any()


@pytest.mark.parametrize("count", [1, 5, 6, 7, 300])
def test_samples_of_a_class_are_summed_as_by_definition(count):
    rows = taps(count)
    total, scatter = reference(rows)
    sums = ClassSums.of(rows)
    assert (sums.total == total).all()
    np.testing.assert_allclose(sums.scatter(), scatter, atol=1e-6 * count)


def test_wide_samples_are_multiplied_in_several_blocks():
    rows = taps(700, 300)
    total, scatter = reference(rows)
    for sums in (ClassSums.of(rows), ClassSums.of(rows[:299]), ClassSums.of(rows[:299]).add(rows[299:])):
        expected = scatter if sums.count == 700 else reference(rows[:299])[1]
        np.testing.assert_allclose(sums.scatter(), expected, atol=1e-6 * np.trace(expected))
    assert (ClassSums.of(rows).total == total).all()


def test_one_image_after_a_million_still_counts():
    many = ClassSums.of(taps(8))
    for _ in range(17):
        many = many.merge(many)
    row = np.eye(1, 6, 2, dtype=np.float32)
    after = many.add(row)
    assert after.count == many.count + 1 == 2**20 + 1
    np.testing.assert_allclose((after.mean - many.mean) * after.count, row[0] - many.mean, rtol=1e-9)
    apart = row[0] - many.mean
    moved = after.scatter() - many.scatter()
    unit = np.spacing(np.float32(np.diag(many.scatter()).max()))  # of the float32 numbers that are kept
    np.testing.assert_allclose(moved, np.outer(apart, apart) * many.count / after.count, atol=unit)
    assert abs(moved[2, 2]) > 5 * unit, "the test would not notice a sample that is lost"


def test_images_one_after_the_other_do_not_drift():
    rows = taps(3_000, 4)
    sums = ClassSums.of(rows[:4])
    for row in rows[4:]:
        sums = sums.add(row[None])
    assert_equal(sums, ClassSums.of(rows), 1e-6)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12), st.integers(0, 99)), min_size=1, max_size=8))
def test_forgetting_a_class_is_as_if_it_had_never_been_learned(lessons):
    everything, without = Sums(6), Sums(6)
    for name, count, seed in lessons:
        everything = everything.add(name, taps(count, 6, seed))
        without = without.add(name, taps(count, 6, seed)) if name != "b" else without
    left = everything.forget("b")
    assert left.counts == without.counts and "b" not in left.classes
    found, expected = left.pooled(["a", "b", "c"]), without.pooled(["a", "b", "c"])
    assert (found.counts == expected.counts).all() and (found.means == expected.means).all()
    assert (found.scatter == expected.scatter).all(), "bit for bit"


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_merging_two_boards_equals_learning_on_one(first, second, shared):
    rows = {"a": taps(first, 6, 1), "b": taps(second, 6, 2), "c": taps(2 * shared, 6, 3)}
    here = Sums(6).add("a", rows["a"]).add("c", rows["c"][:shared])
    there = Sums(6).add("b", rows["b"]).add("c", rows["c"][shared:])
    one = Sums(6)
    for name, each in rows.items():
        one = one.add(name, each)
    for merged in (here.merge(there), there.merge(here)):
        assert merged.counts == one.counts
        for name in one.classes:
            assert_equal(merged.classes[name].read(), one.classes[name].read())


def test_pooled_joins_few_samples_and_scatters_in_the_order_asked_for():
    rows = {"few": taps(3, 6, 1), "many": taps(50, 6, 2), "one": taps(1, 6, 3), "left out": taps(9, 6, 4)}
    sums = Sums(6)
    for name, each in rows.items():
        sums = sums.add(name, each)
    pooled = sums.pooled(["many", "nothing yet", "one", "few"])
    assert pooled.counts.tolist() == [50, 0, 1, 3] and pooled.samples == 54
    for row, name in ((0, "many"), (2, "one"), (3, "few")):
        assert (pooled.means[row] == reference(rows[name])[0] / len(rows[name])).all()
    assert not pooled.means[1].any()
    expected = sum(reference(rows[name])[1] for name in ("many", "one", "few"))
    np.testing.assert_allclose(pooled.scatter, expected, atol=1e-5)
    assert (pooled.scatter == pooled.scatter.T).all()


def test_operations_leave_what_they_start_from_as_it_was():
    sums = Sums(6).add("a", taps(3))
    sums.add("a", taps(9)), sums.add("b", taps(9)), sums.merge(Sums(6).add("a", taps(9))), sums.forget("a")
    assert sums.counts == {"a": 3}
    assert_equal(sums.classes["a"].read(), ClassSums.of(taps(3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 70_000])
def test_samples_that_are_no_numbers_are_refused(bad):
    rows = taps(3)
    rows[1, 2] = bad
    with pytest.raises(DataError, match=r"NaN, infinity or numbers beyond float16.*check the images"):
        Sums(6).add("a", rows)


def test_samples_of_another_size_are_refused():
    with pytest.raises(DataError, match="7 taps, expected 6"):
        Sums(6).add("a", taps(2, 7))
    with pytest.raises(DataError, match="7 taps, expected 6"):
        ClassSums.of(taps(2)).merge(ClassSums.of(taps(2, 7)))


@pytest.mark.parametrize("count", [1, 5, 6, 40])
def test_a_file_gives_the_same_sums_back(tmp_path, count):
    sums = ClassSums.of(taps(count))
    write_tensors(tmp_path / "a", sums.tensors())
    back = ClassSums.from_tensors(read_tensors(tmp_path / "a", StateError), 6)
    assert_equal(back, sums, 0)
    assert {name: each.tobytes() for name, each in back.tensors().items()} == {
        name: each.tobytes() for name, each in sums.tensors().items()
    }


BAD = {
    "no tensors": lambda few, many: {},
    "values of another size": lambda few, many: {"values": few["values"][:, :4]},
    "no values": lambda few, many: {"values": few["values"][:0]},
    "float32 values": lambda few, many: {"values": few["values"].astype(np.float32)},
    "too many values": lambda few, many: {"values": np.zeros((6, 6), np.float16)},
    "NaN among values": lambda few, many: {"values": few["values"] * np.float16(np.nan)},
    "both forms": lambda few, many: few | many,
    "a count below the size": lambda few, many: many | {"count": np.array([5])},
    "a huge count": lambda few, many: many | {"count": np.array([2**60])},
    "a total of NaN": lambda few, many: many | {"total": many["total"] * np.nan},
    "a short triangle": lambda few, many: many | {"triangle": many["triangle"][:-1]},
    "an infinite triangle": lambda few, many: many | {"triangle": many["triangle"] + np.float32(np.inf)},
    "a negative variance": lambda few, many: many | {"triangle": -many["triangle"]},
}


@pytest.mark.parametrize("change", BAD.values(), ids=list(BAD))
def test_tensors_that_are_no_sums_are_refused(change):
    few, many = ClassSums.of(taps(3)).tensors(), ClassSums.of(taps(9)).tensors()
    assert many["triangle"].shape == (triangle_size(6),)
    with pytest.raises(ValueError, match="expected"):
        ClassSums.from_tensors(change(few, many), 6)
