"""A class of a seeded buffer is erased from generation 0 too, and no trace of its samples is left."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.files.durable import calls_through
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.learning.forgetting import forget
from lightcl_edge.state.change import changing
from lightcl_edge.state.state import State
from power_cut import Recorder, Unsynced, fates
from small_bundle import make_folder

SEEDED = ["s0", "s1", "s2"]


@pytest.fixture
def seeded(bundle, tmp_path):
    """A bundle that brings three classes, and the bytes of the samples of each."""
    opened, rng = Bundle.open(bundle), np.random.default_rng(0)
    features, labels = rng.integers(0, 256, (12, 16, 4, 4)).astype(np.uint8), np.arange(12) % 3
    identity = BufferIdentity(opened.sha256(TRUNK), opened.manifest.feature)
    buffer = fill(FeatureBuffer.empty(identity), features.__getitem__, np.arange(12), labels, 12, rng)
    write_tensors(tmp_path / "buffer", buffer.tensors())
    files = {entry.path: (bundle / entry.path).read_bytes() for entry in opened.manifest.files}
    files["buffer.safetensors"] = (tmp_path / "buffer").read_bytes()
    write_bundle(bundle, replace(opened.manifest, classes=SEEDED), files)
    return bundle, {name: {f.tobytes() for f in features[labels == row]} for row, name in enumerate(SEEDED)}


@pytest.fixture
def taught(edge, seeded, tmp_path):
    """One generation on top of them."""
    data = make_folder(tmp_path / "a", ["red"])
    more = ("--engine", "ort", "--epochs", "1", "--max-forgetting", "1", "--quiet")
    edge("train", "--bundle", seeded[0], "--state", tmp_path / "s", "--data", data, *more)
    return State(tmp_path / "s")


def files_with(folder, patterns):
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return sorted({path.name for path, data in contents.items() for pattern in patterns if pattern in data})


def test_it_is_gone_from_every_file_and_from_generation_0(edge, taught, seeded, tmp_path):
    bundle, samples = seeded
    before = taught.read(0)
    assert files_with(taught.folder / "bundle", samples["s1"]) == ["buffer.safetensors"]
    document = json.loads(edge("forget", "--state", taught.folder, "--class", "s1", "--json")[0])
    assert document["classes"] == ["s0", "s2", "red"] and document["samples_erased"] == 4
    assert files_with(taught.folder, samples["s1"]) == [] and files_with(taught.folder, samples["s2"])
    assert "no class 's1'" in edge("forget", "--state", taught.folder, "--class", "s1", code=2)[1]
    edge("rollback", "--state", taught.folder, "--to", "0")
    assert json.loads(edge("history", "--state", taught.folder, "--json")[0])["exported_classes"] == 2
    base = taught.read()
    assert base.meta.classes == ["s0", "s2"] and sorted(base.buffer["labels"]) == [0] * 4 + [1] * 4
    rows = before.parameters["classifier.weight"], base.parameters["classifier.weight"]
    assert np.array_equal(rows[0][[0, 2, 3]], rows[1][:3]) and not rows[1][-1].any()
    data = make_folder(tmp_path / "b", ["green"])  # the original bundle is still this state's
    more = ("--engine", "ort", "--epochs", "1", "--max-forgetting", "1", "--json")
    out, _ = edge("train", "--bundle", bundle, "--state", taught.folder, "--data", data, *more)
    assert json.loads(out)["classes"] == ["s0", "s2", "green"]
    edge("forget", "--state", taught.folder, "--class", "s2")
    assert files_with(taught.folder, samples["s2"]) == [] and taught.read(0).meta.classes == ["s0"]
    assert len(list(taught.folder.glob("seed-*"))) == 1


def test_where_nothing_was_learned_yet(edge, taught, seeded):
    edge("rollback", "--state", taught.folder, "--to", "0")
    shutil.rmtree(taught.place(1))
    document = json.loads(edge("forget", "--state", taught.folder, "--class", "s0", "--json")[0])
    assert (document["generation"], document["classes"], document["samples_erased"]) == (0, ["s1", "s2"], 4)
    assert files_with(taught.folder, seeded[1]["s0"]) == []


def test_tampering_is_refused_and_blocks_only_generation_0(edge, taught, seeded):
    edge("forget", "--state", taught.folder, "--class", "s0")
    (seed,) = taught.folder.glob("seed-*")
    tensors = read_tensors(seed, ValueError)
    write_tensors(seed, {**tensors, "features": 255 - tensors["features"]})
    assert "missing or damaged" in edge("rollback", "--state", taught.folder, "--to", "0", code=6)[1]
    for content in ('{"identity": 1e999}', '{"identity":"", "classes":3, "buffer_sha256":null}', "[]"):
        (taught.folder / "forgotten.json").write_text(content)
        assert "forgotten.json is damaged" in edge("rollback", "--state", taught.folder, "--to", "0", code=6)[1]
        edge("status", "--state", taught.folder)
        assert "damaged" in edge("history", "--state", taught.folder)[0]
    (taught.folder / "forgotten.json").unlink()  # and no buffer either: then it must not pass for a bundle without one
    assert "missing" in edge("rollback", "--state", taught.folder, "--to", "0", code=3)[1]


@pytest.mark.usefixtures("manifests_read_once")
def test_a_power_cut_while_forgetting(taught, seeded, tmp_path):
    samples, recorder = seeded[1]["s1"], Recorder(taught.folder)
    with calls_through(recorder), changing(taught) as change:
        forget(change, "s1")
    seen, cut = set(), tmp_path / "cut"
    for count in range(0, len(recorder.events) + 1, 4):
        for way in ("all kept", "all lost", "random 0"):
            recorder.after_cut(count, fates(count)[way], cut)
            state = State(cut)
            known = "s1" in state.read().meta.classes
            with calls_through(Unsynced()), changing(state):
                pass
            assert ("s1" in state.read().meta.classes) == ("s1" in state.read(0).meta.classes) == known
            assert (files_with(cut, samples) != []) == known, f"call {count}, {way}"
            seen.add(known)
            shutil.rmtree(cut)
    assert seen == {True, False}
