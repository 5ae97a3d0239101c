"""Many images at once: one bad file costs no other its result."""

from __future__ import annotations

import json

import pytest

from small_bundle import make_folder


@pytest.fixture
def taught(edge, bundle, tmp_path):
    state, data = tmp_path / "state", make_folder(tmp_path / "data", ["red", "green"], count=5)
    edge("train", "--bundle", bundle, "--state", state, "--data", data, "--strategy", "slda", "--quiet")
    return state, data


def test_good_images_are_predicted_beside_bad_ones(edge, taught):
    state, data = taught
    good = [data / "red" / "0.png", data / "green" / "1.png"]
    bad = [data / "torn.png", data / "none.png"]
    bad[0].write_bytes(good[0].read_bytes()[:-60])
    words = ("predict", "--state", state, good[0], *bad, good[1])
    for more in ((), ("--quiet",)):
        out, err = edge(*words, *more, code=4)
        assert [line.split(": ")[0] for line in out.splitlines()] == list(map(str, good))
        assert err.count("error: ") == 2 and "torn.png is damaged" in err and "no image at" in err
    document = json.loads(edge(*words, "--json", code=4)[0])
    assert [each["image"] for each in document["predictions"]] == list(map(str, good))
    assert [each["path"] for each in document["unreadable"]] == list(map(str, bad))
    assert all(each["message"] and each["kind"] == "DataError" for each in document["unreadable"])
    alone = json.loads(edge("predict", "--state", state, *good, "--json")[0])
    assert alone["unreadable"] == []
    assert [p["top"][0]["class"] for p in alone["predictions"]] == [
        p["top"][0]["class"] for p in document["predictions"]
    ]


def test_no_readable_image_is_an_error_with_all_names(edge, taught, tmp_path):
    state, _ = taught
    out, err = edge("predict", "--state", state, tmp_path / "a.png", tmp_path / "b.png", "--json", code=4)
    error = json.loads(out)["error"]
    assert error["code"] == 4 and len(error["unreadable"]) == 2 and "a.png" in err and "b.png" in err


def test_a_folder_stands_for_its_images(edge, taught, tmp_path):
    state, data = taught

    def images(*paths, code=0):
        out, err = edge("predict", "--state", state, *paths, "--json", code=code)
        return [each["image"] for each in json.loads(out)["predictions"]], err

    assert images(data / "red")[0] == [str(data / "red" / f"{n}.png") for n in range(5)]
    assert len(images(data)[0]) == 10  # class folders
    (data / "red" / "0.png").rename(data / "0.png")
    (data / "notes.txt").write_text("x")
    found, err = images(data)
    assert found == [str(data / "0.png")] and "not used: 1 file that is no image (.txt 1)" in err
    (tmp_path / "hollow").mkdir()
    found, err = images(tmp_path / "hollow", data / "green", code=4)
    assert len(found) == 5 and "hollow holds no images" in err


def test_a_budget_holds_for_predict_and_evaluate(edge, taught):
    state, data = taught
    for words in (("predict", "--state", state, data), ("evaluate", "--state", state, "--data", data)):
        out, err = edge(*words, "--memory-budget", "1MiB", "--json", code=5)
        assert "allowed are 1.0 MiB (--memory-budget)" in err
        assert json.loads(out)["error"]["allowed_bytes"] == 2**20
        edge(*words, "--memory-budget", "none")
        edge(*words, "--memory-budget", "900GiB")
        assert "without a unit" in edge(*words, "--memory-budget", "97", code=2)[1]


def test_classes_that_were_never_learned_can_be_left_out(edge, taught, tmp_path):
    state, data = taught
    more = make_folder(tmp_path / "more", ["blue", "red"], count=4)
    words = ("evaluate", "--state", state, "--data", more)
    assert "--skip-unknown" in edge(*words, code=4)[1]
    out, err = edge(*words, "--skip-unknown", "--json")
    document = json.loads(out)
    assert (
        document["images"] == 4 and document["unknown_classes"] == ["blue"] and list(document["per_class"]) == ["red"]
    )
    assert "left out, never learned: blue" in err
    assert "never learned and left out: blue" in edge(*words, "--skip-unknown")[0]
    assert json.loads(edge("evaluate", "--state", state, "--data", data, "--skip-unknown", "--json")[0])["images"] == 10
    only = make_folder(tmp_path / "only", ["blue"], count=1)
    assert (
        "none of the data's classes" in edge("evaluate", "--state", state, "--data", only, "--skip-unknown", code=4)[1]
    )
