"""``rename``, and what a task would need before it is learned."""

from __future__ import annotations

import json

import pytest

from lightcl_edge.state.state import State
from small_bundle import make_folder

TRAIN = ("--engine", "ort", "--epochs", "3", "--threads", "1")


@pytest.fixture
def state(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "data", ["red", "green"], count=8)
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, *TRAIN)
    return tmp_path / "s"


def test_a_class_gets_another_name_and_keeps_what_it_has_taught(edge, state, tmp_path):
    before = State(state).read()
    document = json.loads(edge("rename", "--state", state, "--class", "red", "--to", " Tu\u0308r ", "--json")[0])
    assert document == {"class": "Tür", "was": "red", "generation": 2, "classes": ["green", "Tür"]}
    after = State(state).read()
    assert after.sums.counts == {"green": before.sums.counts["green"], "Tür": before.sums.counts["red"]}
    assert after.sums.classes["Tür"].read().count == before.sums.counts["red"]
    picture = make_folder(tmp_path / "new", ["red"], count=1, seed=5) / "red" / "0.png"
    assert (
        json.loads(edge("predict", "--state", state, picture, "--json")[0])["predictions"][0]["top"][0]["class"]
        == "Tür"
    )
    edge("train", "--state", state, "--data", make_folder(tmp_path / "more", ["blue"], count=8), *TRAIN)
    assert State(state).read().meta.classes == ["green", "Tür", "blue"]
    edge("rollback", "--state", state, "--to", "1")
    assert State(state).read().meta.classes == ["green", "red"]


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [("cat", "dog", 2, "no class 'cat'"), ("red", "green", 2, "there is a class 'green' already"),
     ("red", "", 4, "is empty"), ("red", "a\nb", 4, "can't be printed")],
)  # fmt: skip
def test_names_that_can_not_be_given(edge, state, old, new, code, words):
    assert words in edge("rename", "--state", state, "--class", old, "--to", new, code=code)[1]
    assert State(state).numbers() == [1]


def test_a_dry_run_says_what_it_takes_and_writes_nothing(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "data", ["red", "green"], count=3)
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--dry-run", *TRAIN)
    document = json.loads(edge(*words, "--json")[0])
    assert document["classes"] == ["green", "red"] and document["images"] == 6
    assert 0 < document["plan"]["peak_bytes"] < document["allowed_bytes"] and not (tmp_path / "s").exists()
    assert "6 images of 2 classes would be learned" in edge(*words)[0]


def test_a_program_is_told_how_far_a_training_is(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "data", ["red", "green"], count=8)
    words = ("--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--progress-json", *TRAIN)
    lines = [json.loads(line) for line in edge("train", *words)[1].splitlines()]
    phases = [line["phase"] for line in lines if "phase" in line]
    assert phases[0] == "install" and phases[-1] == "commit" and "train" in phases
    steps = [line for line in lines if "step" in line]
    assert steps and all(0 <= line["done"] <= line["total"] for line in steps)
