"""Class names that no terminal should be shown, and pictures that only seem to be the same."""

from __future__ import annotations

import json
import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightcl_edge.data.class_names import canonical, check_class_names
from lightcl_edge.data.dataset import ArrayDataset, FolderDataset
from lightcl_edge.data.image_list import ImageList
from lightcl_edge.errors import DataError
from lightcl_host.export.class_names import read_class_names


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31m", "a\nb", "\udcff", "x" * 300, "a\u202eb", "\ufeffcat"])
def test_names_that_no_class_may_have(edge, bundle, tmp_path, name):
    with pytest.raises(DataError, match="expected 1 to 200 printable characters") as raised:
        check_class_names(["red", name])
    assert str(raised.value).isprintable()


def test_labels_as_bytes():
    images = np.zeros((3, 4, 4), np.uint8)
    assert ArrayDataset(images, np.array([b"cat", b"dog", "é".encode()]), "a.npz").classes == ["cat", "dog", "é"]
    with pytest.raises(DataError, match="no UTF-8"):
        ArrayDataset(images, np.array([b"cat", b"dog", b"\xff"]), "a.npz")


def test_other_pictures_of_the_same_name_size_and_time_are_other_pictures(tmp_path):
    versions = set()
    for value in (1, 2):
        for size in (8, 3000):  # 3000 x 3000: beyond what is hashed whole
            path = tmp_path / "d" / "a" / "0.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (size, size), (value, 0, 0)).save(path)
            os.utime(path, (0, 0))
            versions.add(FolderDataset(tmp_path / "d").content(0))
            path.rename(path.with_name("0.bmp"))
            assert FolderDataset(tmp_path / "d").content(0) in versions
    assert len(versions) == 4


COMPOSED, APART = "caf\u00e9", "cafe\u0301"


def pictures(folder, colours, count=6):
    for number, (name, colour) in enumerate(colours.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        for index in range(count):
            pixels = rng.normal(colour, 60, (20, 20, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}-{index}.png")
    return folder


def test_a_name_that_looks_the_same_is_the_same(edge, bundle, tmp_path):
    red, green = (200, 40, 40), (40, 200, 40)
    data = pictures(tmp_path / "d", {COMPOSED: red, APART: red, "tea": green, "tea ": green})
    words = ("--state", tmp_path / "s", "--strategy", "slda", "--json")
    document = json.loads(edge("train", "--bundle", bundle, "--data", data, *words)[0])
    assert document["classes"] == [COMPOSED, "tea"] and document["images"] == 24 and document["notes"] == []
    out = edge("evaluate", "--state", tmp_path / "s", "--data", data, "--json")[0]
    assert json.loads(out)["images"] == 24
    assert json.loads(edge("train", "--data", pictures(tmp_path / "e", {APART: red}), *words)[0])["new_classes"] == []
    assert json.loads(edge("forget", "--state", tmp_path / "s", "--class", APART, "--json")[0])["classes"] == ["tea"]


def test_names_that_differ_little_are_told(edge, bundle, tmp_path):
    data = pictures(tmp_path / "d", {"Cat": (200, 40, 40), "black dog": (40, 200, 40)})
    words = ("--state", tmp_path / "s", "--strategy", "slda", "--data")
    edge("train", "--bundle", bundle, *words, data)
    more = pictures(tmp_path / "e", {"cat": (200, 40, 40), "Black_Dog": (40, 200, 40), "cow": (40, 40, 200)})
    err = edge("train", *words, more)[1]
    assert "'cat' and 'Cat' are two classes; if they are one, call them the same" in err
    assert "'Black_Dog' and 'black dog' are two classes" in err and err.count("are two classes") == 2
    assert "two classes" not in edge("train", *words, data, code=7)[1]  # the twins look alike: the gate refuses


@given(st.text(min_size=1, max_size=12))
def test_the_one_form_is_final(name):
    assert canonical(canonical(name)) == canonical(name) == canonical(f" {unicodedata.normalize('NFD', name)}\t")


def test_arrays_and_lists_know_that_names_are_the_same(tmp_path):
    images, names = np.zeros((4, 4, 4, 3), np.uint8), ["b", APART, COMPOSED, "b "]
    for dataset in (ArrayDataset(images, np.array(names), "a.npz"), ImageList(images, names)):
        assert [dataset.classes[row] for row in dataset.labels] == ["b", COMPOSED, COMPOSED, "b"]


def test_the_host_reads_and_refuses_names_as_the_device_does(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"cat\r\n{APART} \r\n\r\n".encode())
    assert read_class_names(path, 2) == ["cat", COMPOSED]
    for text, says in ((f"{COMPOSED}\n{APART}", "more than once"), ("a\nb\x1b[31m", "can't be printed")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=says):
            read_class_names(path, 2)
