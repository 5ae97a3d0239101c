"""Sums on the disk: one class's file a lesson, links to the others, and a damaged file blocks no prediction."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import calls_through
from lightcl_edge.files.plain import sha256_of
from lightcl_edge.files.tensors import write_tensors
from lightcl_edge.learning.forgetting import forget
from lightcl_edge.state.change import changing
from lightcl_edge.state.generation import KEPT_GENERATIONS, Generation, Meta
from lightcl_edge.state.state import State
from lightcl_edge.state.sums_files import sums_file
from power_cut import Unsynced
from small_bundle import make_bundle

CLASSES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle.open(make_bundle(tmp_path_factory.mktemp("b") / "bundle", steps=False))


def taps(count, size, seed):
    rows = np.random.default_rng(seed).normal(size=(count, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def lesson(state, name, count, seed=0, calls=None):
    """Teach a class so many images more, and commit; gives the bytes written for it."""
    with calls_through(calls or Unsynced()), changing(state) as change:
        before, number = state.read(), state.next_number()
        classes = before.meta.classes if name in before.meta.classes else [*before.meta.classes, name]
        meta = Meta(number, 0.0, state.bundle().identity, classes, parent=before.meta.generation)
        sums = before.sums.add(name, taps(count, before.sums.size, [seed, *name.encode()]))
        written = change.written.total_bytes
        change.commit(Generation(meta, before.parameters, {}, {}, sums))
        return change.written.total_bytes - written


@pytest.fixture
def taught(bundle, tmp_path):
    """Three classes: a few images of two, more than a sample has numbers of the third."""
    state = State(tmp_path / "state")
    with calls_through(Unsynced()), changing(state, create=True) as change:
        change.install_bundle(bundle)
    for name, count in zip(CLASSES, (1, 5, 50), strict=True):
        lesson(state, name, count)
    return state


def place_of(state, name, number=None):
    return state.place(state.current_number() if number is None else number) / sums_file(name)


def test_a_lesson_writes_the_file_of_one_class(taught):
    written = lesson(taught, "green", 1)
    others = [path.stat().st_size for path in taught.place(4).iterdir() if path.is_file() and path.name[:4] != "head"]
    sums = place_of(taught, "green").stat().st_size
    assert sums < written <= sums + sum(others) + 500  # the pointer and the journal
    assert not place_of(taught, "green").samefile(place_of(taught, "green", 3))
    for name in ("red", "blue"):
        assert place_of(taught, name).samefile(place_of(taught, name, 3))
    assert taught.read().sums.counts == {"red": 1, "green": 6, "blue": 50}
    assert taught.meta(4).images_by_class == [1, 6, 50] and taught.meta(3).images_by_class == [1, 5, 50]


def test_only_a_head_that_changed_is_written(taught):
    exported, head = taught.bundle_folder / "head.safetensors", "head.safetensors"
    lesson(taught, "green", 1)
    assert (taught.place(4) / head).samefile(exported)
    with changing(taught) as change:
        before = taught.read()
        trained = {name: array + 1 for name, array in before.parameters.items()}
        meta = Meta(5, 0.0, taught.bundle().identity, before.meta.classes, parent=4)
        change.commit(Generation(meta, trained, {}, {}, before.sums))
    assert sha256_of(taught.place(5) / head) == taught.meta(5).files[head] != sha256_of(exported)
    assert sha256_of(exported) == taught.bundle().sha256(head)
    lesson(taught, "red", 1)
    assert (taught.place(6) / head).samefile(taught.place(5) / head)


def test_what_is_read_is_what_was_learned(taught):
    found, expected = taught.read().sums, Sums(taught.read().sums.size)
    for name, count in zip(CLASSES, (1, 5, 50), strict=True):
        expected = expected.add(name, taps(count, expected.size, [0, *name.encode()]))
    for one, other in zip(found.classes.values(), expected.classes.values(), strict=True):
        assert one.read().tensors().keys() == other.read().tensors().keys()
        for name, tensor in one.read().tensors().items():
            assert (tensor == other.read().tensors()[name]).all()


class NoLinks(Unsynced):
    """A file system that answers every link with an error."""

    def __init__(self, code):
        self.code = code

    def link(self, source, target):
        del source, target
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK])
def test_files_are_copied_where_links_are_not_possible(taught, code):
    written = lesson(taught, "green", 1, calls=NoLinks(code))
    assert written > sum(place_of(taught, name).stat().st_size for name in CLASSES)
    for name in ("red", "blue"):
        copy, original = place_of(taught, name), place_of(taught, name, 3)
        assert not copy.samefile(original) and copy.read_bytes() == original.read_bytes()
    assert taught.read().sums.counts == {"red": 1, "green": 6, "blue": 50}


def test_another_error_of_a_link_is_the_disks(taught):
    with pytest.raises(OSError, match="Input/output"):
        lesson(taught, "green", 1, calls=NoLinks(errno.EIO))
    assert taught.current_number() == 3 and taught.numbers() == [1, 2, 3]


def test_linked_files_outlive_the_generation_they_were_written_for(taught):
    for seed in range(KEPT_GENERATIONS):
        lesson(taught, "green", 1, seed + 1)
    assert 3 not in taught.numbers()
    assert taught.read().sums.classes["blue"].read().count == 50


def forged(taught, name, tensors):
    """Other tensors under a right hash."""
    path = place_of(taught, name)
    path.unlink()
    digest = write_tensors(path, tensors)
    meta = taught.place(3) / "meta.json"
    record = json.loads(meta.read_text())
    record["files"][sums_file(name)] = digest
    meta.write_text(json.dumps(record))


DAMAGES = {
    "another content": (lambda taught: place_of(taught, "green").write_bytes(b"x"), "its hash differs"),
    "no file": (lambda taught: place_of(taught, "green").unlink(), "No such file"),
    "another count": (
        lambda taught: forged(taught, "green", {"values": np.zeros((4, taught.read().sums.size), np.float16)}),
        "it is of 4 images, expected 5 as in the record",
    ),
    "another size": (
        lambda taught: forged(taught, "green", {"values": np.zeros((5, 31), np.float16)}),
        "values is float16 (5, 31), expected",
    ),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_file_is_named_when_it_is_needed(edge, taught, damage, says):
    damage(taught)
    edge("status", "--state", taught.folder)
    sums = taught.read().sums
    assert sums.classes["blue"].read().count == 50
    for use in (sums.classes["green"].read, lambda: sums.pooled(CLASSES), lambda: lesson(taught, "green", 1)):
        with pytest.raises(StateError) as caught:
            use()
        message = str(caught.value)
        assert "the sums of class 'green' can't be used" in message and says in message
        assert f"lightcl-edge forget --state {taught.folder} --class green" in message
    problems = {entry["generation"]: entry["problem"] for entry in history(edge, taught)}
    assert "'green'" in problems[3] and problems[1] is None
    edge("forget", "--state", taught.folder, "--class", "green")
    assert [entry["problem"] for entry in history(edge, taught)] == [None] * len(taught.numbers())
    lesson(taught, "green", 1)
    assert taught.read().sums.counts == {"red": 1, "blue": 50, "green": 1}


def test_forgetting_a_class_erases_others_whose_sums_are_damaged_too(edge, taught):
    """Or two damaged classes would each be in the way of forgetting the other."""
    for name in ("green", "blue"):
        place_of(taught, name).write_bytes(b"x")
    arguments = ("--state", taught.folder, "--class", "green")
    assert "blue has taught is damaged, so it is forgotten too" in edge("forget", *arguments, "--dry-run")[0]
    document = json.loads(edge("forget", *arguments, "--json")[0])
    assert document["damaged_classes"] == ["blue"] and document["classes"] == ["red"]
    assert [entry["problem"] for entry in history(edge, taught)] == [None] * len(taught.numbers())
    lesson(taught, "blue", 2)
    assert taught.read().sums.counts == {"red": 1, "blue": 2}


def test_a_missing_file_that_is_only_to_be_kept_is_named_too(taught):
    place_of(taught, "blue").unlink()
    with pytest.raises(StateError, match=r"the sums of class 'blue' can't be used.*forget the class"):
        lesson(taught, "green", 1)
    assert taught.current_number() == 3 and taught.numbers() == [1, 2, 3]


def history(edge, state):
    return json.loads(edge("history", "--state", state.folder, "--json")[0])["generations"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record["images_by_class"].pop(), "counts images of 2 classes, expected 3"),
        (lambda record: record["images_by_class"].__setitem__(0, -1), "expected 0 or more"),
        (lambda record: record["files"].pop(sums_file("blue")), "has no hash of the sums of ['blue']"),
        (lambda record: record.pop("images_by_class"), "lacks 'images_by_class'"),
    ],
)
def test_a_record_that_does_not_fit_its_sums(edge, taught, change, says):
    path = taught.place(3) / "meta.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    assert says in edge("status", "--state", taught.folder, code=6)[1]


def test_status_counts_images_by_class(edge, taught):
    document = json.loads(edge("status", "--state", taught.folder, "--json")[0])
    assert document["images_by_class"] == {"red": 1, "green": 5, "blue": 50}
    assert "red (1 image), green (5 images), blue (50 images)" in edge("status", "--state", taught.folder)[0]


def test_forgetting_removes_a_class_from_every_generation_and_links_the_rest(taught):
    inode, kept = place_of(taught, "blue").stat().st_ino, sha256_of(place_of(taught, "blue"))
    sums = taught.read().sums.forget("green").pooled(["red", "blue"])
    with calls_through(Unsynced()), changing(taught) as change:
        forget(change, "green")
    assert not [path for path in taught.folder.rglob("*") if sums_file("green").endswith(path.name) and path.is_file()]
    assert place_of(taught, "blue").stat().st_ino == inode and sha256_of(place_of(taught, "blue")) == kept
    left = taught.read().sums
    assert left.counts == {"red": 1, "blue": 50} and taught.read().meta.images_by_class == [1, 50]
    assert (left.pooled(["red", "blue"]).scatter == sums.scatter).all()


def test_a_state_of_an_older_format_says_what_to_do(edge, taught):
    for number in taught.numbers():
        path = taught.place(number) / "meta.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    manifest = taught.bundle_folder / "manifest.json"
    for _ in range(2):
        message = edge("status", "--state", taught.folder, code=6)[1]
        assert "has format 1, expected 2" in message and "another --state" in message
        manifest.write_text(manifest.read_text().replace('"format_version": [', '"format_version": [0, '))
