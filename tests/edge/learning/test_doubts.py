"""What a person is told after a task, and mixed-up folders that are refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from lightcl_edge.commands.train import _class_lines
from lightcl_edge.errors import RejectedError
from lightcl_edge.learning import doubts, gate, judging
from lightcl_edge.learning.doubts import Lookalike
from lightcl_edge.learning.judging import Judgement, JudgingSamples, Reference
from small_bundle import make_bundle, make_folder


def reference(labels, logits, unknown=None):
    labels = np.array(labels, np.int64)
    samples = JudgingSamples(len(labels), labels, np.zeros((len(labels), 1), np.float16))
    strange = np.zeros(len(labels), bool) if unknown is None else np.array(unknown)
    return Reference(samples, np.array(logits, np.float32), strange)


SURE, OTHER, UNSURE = [9, 0], [0, 9], [1, 0]


def test_only_sure_images_that_were_seen_look_like_another_class():
    logits = np.array([SURE, SURE, UNSURE, OTHER, SURE, SURE], np.float32)
    strange, labels = np.array([False] * 5 + [True]), np.array([1, 1, 1, 1, 2, 2])
    found = doubts.lookalikes(logits, strange, labels)
    assert found == [Lookalike(1, 0, 2, 4), Lookalike(2, 0, 1, 2)]
    assert found[0].text(["cat", "dog"]) == "2 of 4 images of dog look like cat"
    assert doubts.lookalikes(np.empty((4, 0), np.float32), strange[:4], labels[:4]) == []
    assert doubts.lookalikes(logits[:0], strange[:0], labels[:0]) == []


def test_a_class_that_fell_is_named_with_what_it_is_taken_for():
    before, after = [SURE] * 10 + [OTHER] * 10, [[9, 0, 0]] * 6 + [[0, 0, 9]] * 4 + [[0, 9, 0]] * 9 + [[9, 0, 0]]
    earlier = reference([0] * 10 + [1] * 10, before)
    nothing = reference([], np.empty((0, 2)))
    logits = np.array(after, np.float32)
    judgement = judging.judge(["cat", "dog", "fox"], 2, earlier.samples.labels, earlier.logits, logits)
    said = doubts.warnings(judgement, (earlier, nothing), logits, 2)
    assert said == ["cat fell from 10 to 6 of 10 images: 4 taken for fox"], "one image of ten may turn by chance"


@pytest.mark.parametrize(("label", "wrong", "told"), [(1, 3, False), (1, 4, True), (2, 4, False), (2, 5, True)])
def test_many_images_that_look_like_another_class_are_told(label, wrong, told):
    own = reference([label] * 10, [SURE] * wrong + [UNSURE] * (10 - wrong))
    nothing = reference([], np.empty((0, 2)))
    judgement = judging.judge(["cat", "dog", "fox"], 2, np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 3)))
    said = doubts.warnings(judgement, (nothing, own), np.empty((0, 3), np.float32), 2)
    assert bool(said) == told
    assert not told or (f"{wrong} of 10 images of" in said[0] and "look like cat" in said[0])


def test_a_mixed_folder_of_a_known_class_is_refused():
    judgement = Judgement(["cat", "dog"], *(np.zeros(2) for _ in range(5)))
    for found, limit in ((Lookalike(1, 0, 4, 10), 0.2), (Lookalike(1, 0, 9, 9), 0.2), (Lookalike(1, 0, 9, 10), 1.0)):
        gate.refuse_mixed([found], 2, limit, judgement)
    gate.refuse_mixed([Lookalike(1, 0, 10, 10)], 1, 0.2, judgement)  # a new class may look like a known one
    with pytest.raises(RejectedError, match=r"5 of 10 images of dog look like cat, .* the old head stays"):
        gate.refuse_mixed([Lookalike(1, 0, 5, 10)], 2, 0.2, judgement)


def test_one_lost_class_is_not_hidden_by_many_others():
    ones, after = np.ones(10, np.float32), np.ones(10, np.float32)
    names, images = [f"c{row}" for row in range(10)], np.full(10, 10)
    after[3] = 0.5
    gate.refuse_forgetting(Judgement(names, images, 0 * images, ones, after, after), 0.2)
    after[3] = 0.3
    gate.refuse_forgetting(Judgement(names, images // 4, 0 * images, ones, after, after), 0.2)  # of two images
    gate.refuse_forgetting(Judgement(names, images, 0 * images, ones, after, after), 1.0)
    with pytest.raises(RejectedError, match=r"c3 fell from 100\.0% to 30\.0%, allowed for one class .* 50\.0%"):
        gate.refuse_forgetting(Judgement(names, images, 0 * images, ones, after, after), 0.2)


@pytest.fixture(scope="module")
def learned(edge, tmp_path_factory):
    """A state with so many held-out images that these alone would say nothing of a first mistake."""
    folder = tmp_path_factory.mktemp("learned")
    bundle, data = make_bundle(folder / "bundle"), make_folder(folder / "data", ["red", "green"], count=60)
    out, _ = edge("train", "--bundle", bundle, "--state", folder / "state", "--data", data, "--json")
    assert json.loads(out)["warnings"] == []
    return folder


@pytest.fixture
def state(learned, tmp_path):
    return shutil.copytree(learned / "state", tmp_path / "state")


def mixed(folder, name):
    """40 images of red and 10 of the class itself."""
    make_folder(folder, ["red", name], count=40, seed=5)
    for at, image in enumerate(sorted((folder / name).iterdir())):
        if at % 4:
            image.unlink()
    for image in sorted((folder / "red").iterdir()):
        image.rename(folder / name / f"{image.stem}-other{image.suffix}")
    (folder / "red").rmdir()
    return folder


def test_forty_wrong_labels_of_fifty_are_refused(edge, state, tmp_path):
    out, err = edge("train", "--state", state, "--data", mixed(tmp_path / "new", "green"), "--json", code=7)
    assert "of 50 images of green look like red" in json.loads(out)["error"]["message"]
    assert "--max-forgetting 1" in err


def test_forty_wrong_labels_of_a_new_class_are_told(edge, state, tmp_path):
    out, _ = edge("train", "--state", state, "--data", mixed(tmp_path / "new", "blue"))
    assert "look: 40 of 50 images of blue look like red" in out
    assert "lightcl-edge rollback" in out and len(out.splitlines()) <= 12


def test_the_same_images_again_are_told(edge, state, learned, tmp_path):
    out, _ = edge("train", "--state", state, "--data", learned / "data")
    assert "look: the same images were taught before; now they count twice" in out
    more = tmp_path / "more"
    shutil.copytree(learned / "data" / "green", more / "green")
    assert "some images were taught before and count twice" in edge("train", "--state", state, "--data", more)[0]


def test_the_table_has_every_class_with_counts_of_images(edge, state, tmp_path):
    out, _ = edge("train", "--state", state, "--data", make_folder(tmp_path / "blue", ["blue"], count=60))
    lines = out.splitlines()
    assert lines[0] == "generation 2: learned blue from 60 images" and "3 classes" in lines[1]
    header = next(at for at, line in enumerate(lines) if line.startswith("images right"))
    rows = {line.split()[0]: line.split()[1:] for line in lines[header + 1 : header + 4]}
    assert rows["blue"][0] == "new" and rows["blue"][1] == rows["blue"][3]
    assert all(len(set(rows[name])) == 2 and len(rows[name]) == 6 for name in ("red", "green"))  # "7 of 7  7 of 7"


def test_the_table_says_which_images_were_learned_from():
    few = {"images": 10, "learned_images": 6, "before": 1.0, "after": 0.9}
    new = {"images": 4, "learned_images": 0, "before": None, "after": 1.0}
    head, first, second = _class_lines({"cat": few, "dog": new}, 9)
    assert head.split("  ")[-1] == "of these learned" and first.split()[-1] == "6" and second.split()[-1] == "0"
    assert "learned" not in _class_lines({"dog": new}, 9)[0]
