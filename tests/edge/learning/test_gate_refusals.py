"""What must not replace a good head: each keeps the old generation, exit code 7, with a table of classes."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from small_bundle import make_bundle, make_folder

NAMES = ["red", "green", "blue", "grey"]


@pytest.fixture(scope="module")
def learned(edge, tmp_path_factory):
    """A state that knows four colours."""
    folder = tmp_path_factory.mktemp("learned")
    bundle, data = make_bundle(folder / "bundle"), make_folder(folder / "data", NAMES, count=30)
    edge("train", "--bundle", bundle, "--state", folder / "state", "--data", data, "--strategy", "replay", "--quiet")
    return folder / "state"


@pytest.fixture
def taught(edge, learned, tmp_path):
    """A copy of that state and a check that a training is refused."""
    state = shutil.copytree(learned, tmp_path / "state")

    def refused(data, *more):
        before = {p: p.read_bytes() for p in (state / "generations").rglob("*") if p.is_file()}
        current = (state / "CURRENT").read_text()
        out, err = edge("train", "--state", state, "--data", data, *more, "--json", code=7)
        after = {p: p.read_bytes() for p in (state / "generations").rglob("*") if p.is_file()}
        assert after == before and (state / "CURRENT").read_text() == current and not (state / "work").exists()
        error = json.loads(out)["error"]
        assert error["code"] == 7 and error["kind"] == "RejectedError" and "the old head stays" in error["message"]
        assert error["message"] in err
        return error

    return state, refused


def swapped(folder, names):
    """Pictures with every label wrong: each class's folder holds the next one's."""
    make_folder(folder, names, count=30, seed=3)
    for name in names:
        os.rename(folder / name, folder / f"{name}-was")
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        os.rename(folder / f"{name}-was", folder / other)
    return folder


@pytest.mark.parametrize("strategy", ["replay", "slda", "ncm", "lightcl", "finetune"])
def test_poisoned_labels(taught, tmp_path, strategy):
    _, refused = taught
    poison = swapped(tmp_path / "poison", NAMES)
    more = ("--learning-rate", "0.05", "--epochs", "20") if strategy in ("lightcl", "finetune") else ()
    error = refused(poison, "--strategy", strategy, *more)
    assert set(error["per_class"]) == set(NAMES)
    assert all(row["images"] > 0 and row["before"] is not None for row in error["per_class"].values())
    assert "judged on" in error["message"] and "among earlier classes" in error["message"]


@pytest.mark.parametrize(("strategy", "rate"), [("replay", "1e9"), ("finetune", "3e38"), ("lightcl", "1e9")])
def test_a_huge_learning_rate(edge, taught, tmp_path, strategy, rate):
    """Steps that raise the loss begin anew and are smaller; if none helps, the head that they began with stays."""
    state, _ = taught
    mixed = make_folder(tmp_path / "more", NAMES, count=30, seed=4)
    more = ("--strategy", strategy, "--learning-rate", rate, "--json")
    out, _ = edge("train", "--state", state, "--data", mixed, *more)
    document = json.loads(out)
    assert document["generation"] == 2 and document["holdout_accuracy"] > 0.9 and document["loss"] < 2


@pytest.mark.parametrize("strategy", ["replay", "slda", "lightcl"])
def test_poison_after_few_good_images(edge, bundle, tmp_path, strategy):
    """Eight images of a class leave one held out: what is remembered of them bears witness too."""
    state, good = tmp_path / "state", make_folder(tmp_path / "good", NAMES[:2], count=8)
    edge("train", "--bundle", bundle, "--state", state, "--data", good, "--quiet")
    poison = swapped(tmp_path / "poison", NAMES[:2])
    more = ("--learning-rate", "0.05", "--epochs", "20") if strategy == "lightcl" else ()
    out, _ = edge("train", "--state", state, "--data", poison, "--strategy", strategy, *more, "--json", code=7)
    table = json.loads(out)["error"]["per_class"]
    assert all(8 <= row["images"] <= 10 for row in table.values())


def test_no_forgetting_at_all(edge, bundle, tmp_path):
    """With a limit of 0 a single sample that turned wrong is one too many."""
    state, good = tmp_path / "state", make_folder(tmp_path / "good", NAMES[:2], count=8)
    edge("train", "--bundle", bundle, "--state", state, "--data", good, "--quiet")
    wrong = make_folder(tmp_path / "wrong", NAMES[:1], count=20, seed=4)
    os.rename(wrong / NAMES[0], wrong / NAMES[1])
    how = ("--strategy", "finetune", "--learning-rate", "0.05", "--epochs", "20", "--max-forgetting", "0")
    more = ("--state", state, "--data", wrong, *how)
    assert "a loss of 0.0%" in edge("train", *more, code=7)[1]


@pytest.mark.parametrize(("strategy", "rate"), [("replay", "1e9"), ("replay", "1e5"), ("finetune", "1e9")])
def test_a_huge_learning_rate_on_the_first_task(edge, bundle, tmp_path, strategy, rate):
    """There is no old head to fall back to; the closed form, or rows at the class means, are the start."""
    data = make_folder(tmp_path / "data", NAMES, count=20)
    out, _ = edge(
        *("train", "--bundle", bundle, "--state", tmp_path / "state", "--data", data),
        *("--strategy", strategy, "--learning-rate", rate, "--json"),
    )
    assert json.loads(out)["holdout_accuracy"] > 0.9


def test_replay_goes_back_to_its_start_where_training_did_harm(taught, edge, tmp_path):
    """A rate that is too large after every new start too: what is kept is the head in closed form, not the damage."""
    from lightcl_edge.state.state import State

    state, _ = taught
    mixed = make_folder(tmp_path / "more", NAMES, count=30, seed=4)
    out, _ = edge("train", "--state", state, "--data", mixed, "--learning-rate", "2e4", "--json")
    assert json.loads(out)["holdout_accuracy"] > 0.9
    exported, learned = State(state).read(0).parameters, State(state).read(2).parameters
    assert (exported["block.weight"] == learned["block.weight"]).all()


def test_a_batch_of_one_class_that_swallows_the_others(taught, tmp_path):
    """Everything the camera saw under one name."""
    _, refused = taught
    everything = make_folder(tmp_path / "seen", NAMES, count=30, seed=5)
    for name in NAMES[1:]:
        for path in sorted((everything / name).iterdir()):
            os.rename(path, everything / "red" / f"{name}-{path.name}")
        (everything / name).rmdir()
    error = refused(everything, "--strategy", "finetune", "--learning-rate", "0.05", "--epochs", "20")
    assert error["per_class"]["green"]["after"] < error["per_class"]["green"]["before"]


def test_max_forgetting_decides(taught, edge, tmp_path):
    state, refused = taught
    poison = swapped(tmp_path / "poison", NAMES)
    refused(poison, "--strategy", "slda", "--max-forgetting", "0.05")
    out, _ = edge("train", "--state", state, "--data", poison, "--strategy", "slda", "--max-forgetting", "1", "--json")
    table = json.loads(out)["per_class"]
    assert set(table) == set(NAMES) and json.loads(out)["generation"] == 2


def test_good_images_pass_and_the_table_says_so(taught, edge, tmp_path):
    state, _ = taught
    more = make_folder(tmp_path / "more", ["red", "green"], count=20, seed=6)
    document = json.loads(edge("train", "--state", state, "--data", more, "--json")[0])
    assert document["generation"] == 2 and document["per_class"]["blue"]["after"] > 0.7
    assert document["buffer"]["samples"] > 0 and document["strategy_reason"]
