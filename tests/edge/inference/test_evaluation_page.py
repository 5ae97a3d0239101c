"""The page of an evaluation: every figure, every mistake, nothing from outside."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lightcl_edge.inference.evaluation import Answers, Evaluation, UnknownImages
from lightcl_edge.inference.evaluation_page import (
    EvaluationView,
    Mistake,
    bins,
    render_page,
    render_part,
    shown,
    thumbnail,
)
from small_bundle import make_bundle, make_folder

UNKNOWN = UnknownImages(7, 0.8, 0.6)


def evaluation(names, labels, rows, confidences, **more):
    labels, rows = np.array(labels), np.array(rows)
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, rows), 1)
    answers = Answers(np.arange(len(labels)), labels, rows, np.array(confidences, np.float32))
    found = {"expected_calibration_error": 0.123, "error_auroc": None, "false_alarm_rate": None, "unknown": None} | more
    return Evaluation(names, confusion, [], answers=answers, **found)


def test_bins_are_tenths_and_hold_every_answer():
    found = bins(Answers(np.arange(4), np.zeros(4, int), np.array([0, 1, 0, 0]), np.array([0.05, 0.1, 0.95, 1.0])))
    assert [(each.images, round(each.confidence, 3), each.right) for each in found] == [(2, 0.075, 0.5), (2, 0.975, 1)]


def test_the_page_shows_counts_and_mistakes_and_escapes_names():
    found = evaluation(
        ["cat<b>", "dog"],
        [0, 0, 1],
        [0, 1, 1],
        [0.9, 0.8, 0.7],
        false_alarm_rate=0.05,
        unknown=UnknownImages(7, 0.8, 0.6),
    )
    shown = [Mistake("cat<b>", "dog", 0.8, "data:image/jpeg;base64,AA")]
    view = EvaluationView(found, 3, [0, 1], shown, 1, bins(found.answers), [(1, 0.9), (3, 0.75)])
    page = render_page(view)
    assert "<b>cat&lt;b&gt;</b> taken for dog, 80 % sure" in page and "cat<b>" not in page
    for words in (
        "2 of 3 images are right",
        "75.0 % as the mean",
        "(generation 3)",
        "cat&lt;b&gt; taken for dog: 1 of 2",
    ):
        assert words in page
    for words in ("12.3 % apart", "Of 7 images of other classes 60.0 % were noticed (AUROC 80.0 %)", "generation 1"):
        assert words in page.replace("\n", " ")
    assert not re.search(r"https?:|url\(|@import|<script|<link", page)
    assert render_part(view).replace("h3>", "h2>") in page and "<html" not in render_part(view)


def test_of_many_classes_those_with_most_mistakes_are_shown():
    names = [f"c{row}" for row in range(40)]
    found = evaluation(names, [*range(40), 39, 38], [*range(40), 38, 39], [0.5] * 42)
    assert len(shown(found)) == 30 and shown(found)[-2:] == [38, 39]


def test_thumbnails_are_small_and_keep_their_shape():
    address = thumbnail(np.full((300, 150, 3), 200, np.uint8))
    kind, data = address.split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (48, 96)


@pytest.fixture(scope="module")
def state(edge, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    data = make_folder(folder / "data", ["red", "green"], count=30)
    edge("train", "--bundle", make_bundle(folder / "bundle"), "--state", folder / "state", "--data", data)
    return folder


def test_the_command_writes_it(edge, state):
    wrong = make_folder(state / "wrong", ["red"], count=3, seed=8)
    (wrong / "red").rename(wrong / "green")
    out, _ = edge("evaluate", "--state", state / "state", "--data", wrong, "--html", state / "page.html")
    page = (state / "page.html").read_text()
    assert f"page: {state / 'page.html'}" in out
    assert page.count('<img src="data:image/jpeg;base64,') == 3 and "<b>green</b> taken for red" in page


def test_unknown_folders_are_compared_as_classes_are(edge, state):
    known = make_folder(state / "others", ["red"], count=2)
    (known / "red").rename(known / "red ")
    words = ("evaluate", "--state", state / "state", "--data", state / "data", "--unknown", known)
    assert "--unknown holds images of red, which was learned" in edge(*words, code=4)[1]


def test_no_templates_without_a_page(state):
    words = ["evaluate", "--state", str(state / "state"), "--data", str(state / "data")]
    code = f"import sys; from lightcl_edge.cli import main; main({words}); print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
