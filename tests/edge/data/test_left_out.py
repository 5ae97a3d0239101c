"""What is not learned from is told, and what to do about it."""

from __future__ import annotations

import json

import pytest

from lightcl_edge.data.specification import open_dataset
from small_bundle import make_folder

HEIC = b"\0\0\0\x18ftypheic"


@pytest.fixture(autouse=True)
def without_the_extra(monkeypatch):
    """As where ``lightcl-edge[heif]`` is not installed."""
    for place in ("image_folders", "decoding"):
        monkeypatch.setattr(f"lightcl_edge.data.{place}.reads_heif", lambda: False)


def test_files_and_folders_that_are_not_learned_from_are_told(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"], count=5)
    for name in ("a.heic", "b.HEIC", "c.txt", ".DS_Store"):
        (data / "red" / name).write_bytes(HEIC)
    make_folder(data / "green", ["blue"], count=2)
    (data / "red" / "0.png").rename(data / "0.png")
    words = ("train", "--bundle", bundle, "--data", data, "--strategy", "slda", "--json")
    out, err = edge(*words, "--state", tmp_path / "s")
    assert "not used: 3 files that are no images (.heic 2, .txt 1; convert HEIC" in err
    assert (
        "1 sub-folder of green not looked into; 1 image beside the class folders" in err and err.count("not used") == 1
    )
    document = json.loads(out)
    found = {name: value for name, value in document["left_out"].items() if value}
    assert found == {"files": {".heic": 2, ".txt": 1}, "folders": {"green": 1}, "loose_images": 1}
    assert document["notes"] == [err.strip()]
    assert document["images"] == 9
    assert edge(*words, "--state", tmp_path / "quiet", "--quiet")[1] == ""


def test_nothing_is_told_where_nothing_was_left_out(tmp_path):
    data = make_folder(tmp_path / "d", ["red"], count=1)
    assert all(open_dataset(spec).all_notes() == [] for spec in (str(data), f"{data}@1/1", "digits"))


def test_folders_without_images_are_listed(edge, bundle, tmp_path):
    data = tmp_path / "d"
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data)
    (data / "a").mkdir(parents=True)
    (data / "a" / "x.heic").write_bytes(HEIC)
    err = edge(*words, code=4)[1]
    assert f"no class folder in {data} holds images" in err and "found files of other kinds: .heic 1; convert" in err


def test_a_heic_photo_is_to_be_converted_whatever_it_is_called(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"], count=5)
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--strategy", "slda", "--quiet")
    for name, content in (("phone.heic", b"?"), ("phone.jpg", HEIC)):
        (tmp_path / name).write_bytes(content)
        err = edge("predict", "--state", tmp_path / "s", tmp_path / name, code=4)[1]
        assert "expected PNG, JPEG, WebP, BMP, TIFF, GIF or PPM; convert HEIC and AVIF photos to JPEG" in err
