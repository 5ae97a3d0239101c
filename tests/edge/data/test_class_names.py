"""Class names that no terminal should be shown, and pictures that only seem to be the same."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from lightcl_edge.data.class_names import check_class_names
from lightcl_edge.data.dataset import ArrayDataset, FolderDataset
from lightcl_edge.errors import DataError


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31m", "a\nb", "\udcff", "x" * 300, "a\u202eb"])
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
