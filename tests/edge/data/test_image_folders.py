"""One rule for what is ignored, the same names of images everywhere, and sets that were divided before."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from lightcl_edge.data.dataset import FolderDataset
from lightcl_edge.data.decoding import load_image
from lightcl_edge.data.image_folders import IMAGE_SUFFIXES
from lightcl_edge.data.named_images import NamedImages
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.data.spool import Spool
from lightcl_edge.errors import DataError
from small_bundle import INPUT, make_folder

APPLE_DOUBLE = b"\x00\x05\x16\x07"
JUNK_FOLDERS = ("__MACOSX", "System Volume Information", "$RECYCLE.BIN", "@eaDir", ".Trashes", "lost+found")


def litter(data):
    """What systems and file servers leave beside photographs."""
    for folder in (data, *[path for path in data.iterdir() if path.is_dir()]):
        for name in JUNK_FOLDERS:
            (folder / name).mkdir()
            (folder / name / "thumb.jpg").write_bytes(b"x")
        for name in ("._0.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
            (folder / name).write_bytes(APPLE_DOUBLE)


def test_what_systems_leave_behind_is_ignored_by_all(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "photos", ["red", "green"], count=6)
    litter(data)
    words = ("--data", data, "--strategy", "slda", "--json")
    out, err = edge("train", "--bundle", bundle, "--state", tmp_path / "s", *words)
    assert json.loads(out)["images"] == 12 and json.loads(out)["skipped"] == [] and err == ""
    out, err = edge("predict", "--state", tmp_path / "s", data, data / "red", "--json")
    assert len(json.loads(out)["predictions"]) == 18 and err == ""
    out, err = edge("evaluate", "--state", tmp_path / "s", "--data", data, "--json")
    assert json.loads(out)["images"] == 12 and err == ""
    assert Spool(data, 0).waits() == 12


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_the_same_names_count_everywhere(tmp_path, suffix):
    kinds = {".jpe": "JPEG", ".jfif": "JPEG", ".mpo": "MPO", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM"}
    place = tmp_path / "d" / "red" / f"a{suffix.upper()}"
    place.parent.mkdir(parents=True)
    picture = Image.fromarray(np.full((20, 20, 3), 200, np.uint8))
    more = {"save_all": True, "append_images": [picture]} if suffix == ".mpo" else {}
    picture.save(place, format=kinds.get(suffix), **more)
    assert FolderDataset(tmp_path / "d").paths == [place] == NamedImages([place.parent]).paths
    assert Spool(tmp_path / "d", 0).waits() == 1
    assert load_image(place, INPUT).mean() == pytest.approx(200, abs=3)


@pytest.fixture
def divided(tmp_path):
    for part in ("train", "val", "test"):
        make_folder(tmp_path / "set" / part, ["red", "green"], count=6, seed=len(part))
    return tmp_path / "set"


def test_divided_sets_are_recognised(edge, bundle, divided, tmp_path):
    out, err = edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", divided, "--json")
    assert json.loads(out)["classes"] == ["green", "red"] and f"{divided} is divided: train is taken to learn" in err
    assert (
        f"{divided} is divided: test is taken to evaluate"
        in edge("evaluate", "--state", tmp_path / "s", "--data", divided)[1]
    )
    shutil.rmtree(divided / "test")
    assert open_dataset(str(divided), "evaluate").paths[0].parent.parent.name == "val"


def test_classes_called_train_and_test_stay_classes(tmp_path):
    """Whether a folder is a part of a set or a class shows in what it holds."""
    data = tmp_path / "d"
    for name in ("train", "test"):
        (data / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(data / name / "a.png")
    assert open_dataset(str(data)).classes == ["test", "train"]
    (data / "ship").mkdir()
    (data / "ship" / "old").mkdir()
    assert open_dataset(str(data)).classes == ["test", "train"]


def test_large_jpegs_are_reduced_while_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("lightcl_edge.data.decoding.MAX_PIXELS", 20_000)
    pixels = np.zeros((400, 800, 3), np.uint8)
    pixels[:, 400:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    found = load_image(tmp_path / "a.jpg", INPUT)
    assert found[:, 0].max() < 20 and found[:, -1].min() > 235
    (tmp_path / "d" / "red").mkdir(parents=True)
    (tmp_path / "a.jpg").rename(tmp_path / "d" / "red" / "a.jpg")
    assert FolderDataset(tmp_path / "d").image(0).shape == (100, 200, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="expected at most 20000"):
        load_image(tmp_path / "a.png", INPUT)


def test_a_photograph_beyond_what_pillow_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("RGB", (200, 200), (0, 200, 0)).save(tmp_path / "a.jpg")
    assert load_image(tmp_path / "a.jpg", INPUT)[..., 1].mean() == pytest.approx(200, abs=3)
    Image.new("RGB", (200, 200)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="too many pixels"):
        load_image(tmp_path / "a.png", INPUT)


def test_heic_photographs_are_read_where_the_extra_is_installed(edge, bundle, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    for name, colour in (("red", (200, 40, 40)), ("green", (40, 200, 40))):
        (tmp_path / "d" / name).mkdir(parents=True)
        for index in range(6):
            pixels = np.random.default_rng(index).normal(colour, 30, (64, 64, 3)).clip(0, 255).astype(np.uint8)
            heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "d" / name / f"{index}.HEIC")
    mislabelled = (tmp_path / "d" / "red" / "0.HEIC").rename(tmp_path / "d" / "red" / "0.jpg")
    assert load_image(mislabelled, INPUT)[..., 0].mean() == pytest.approx(200, abs=8)
    state = ("--state", tmp_path / "s")
    out, err = edge("train", "--bundle", bundle, *state, "--data", tmp_path / "d", "--strategy", "slda", "--json")
    assert json.loads(out)["images"] == 12 and err == ""
    assert Spool(tmp_path / "d", 0).waits() == 12
    (tmp_path / "torn.heic").write_bytes(mislabelled.read_bytes()[:300])
    edge("predict", *state, tmp_path / "torn.heic", code=4)
