"""What may not be read or moved is passed over and named with the reason; the rest is learned."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from lightcl_edge.data.decoding import load_image
from lightcl_edge.errors import DataError
from small_bundle import INPUT, make_folder
from without_rights import edge_without_rights, take_from_user

DENIED = "Permission denied"


@pytest.fixture
def photos(tmp_path):
    """Three classes: of the first two all or one image may be read, the third folder is closed."""
    data = make_folder(tmp_path / "photos", ["red", "green", "blue"], count=6)
    (data / "lost+found").mkdir()
    for path in (data / "lost+found", data / "blue", data / "green" / "0.png"):
        take_from_user(path)
    yield data
    (data / "blue").chmod(0o700)


def test_train_passes_over_what_may_not_be_read(photos, bundle, tmp_path):
    words = ("--state", tmp_path / "s", "--data", photos, "--strategy", "slda", "--json")
    done = edge_without_rights("train", "--bundle", bundle, *words)
    assert done.returncode == 0, done.stderr
    assert f"blue, which can't be read ({DENIED})" in done.stderr and "lost+found" not in done.stderr
    document = json.loads(done.stdout)
    assert document["classes"] == ["green", "red"] and document["images"] == 11
    assert document["left_out"]["unreadable"] == {"blue": DENIED}
    assert "green/0.png can't be read: Permission denied; check its owner and rights" in document["skipped"][0]
    named = [photos / "green" / "0.png", photos / "red" / "0.png", photos]
    predicted = edge_without_rights("predict", "--state", tmp_path / "s", *named)
    assert predicted.returncode == 4 and DENIED in predicted.stderr and "red/0.png: " in predicted.stdout


def test_watch_learns_the_rest(photos, bundle, tmp_path):
    words = ("--once", "--settle", 0, "--interval", 0.05, "--train", "--strategy slda", "--json")
    for path in photos.rglob("*"):  # whose rights decide whether a file may be moved
        if path.is_dir() and path.name == "green":
            take_from_user(path / "1.png", 0o644)
    done = edge_without_rights("watch", photos, "--bundle", bundle, "--state", tmp_path / "s", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 11
    assert f"green/0.png, which can't be read ({DENIED})" in done.stderr and "blue, which can't be read" in done.stderr
    assert (photos / "green" / "0.png").exists() and not (photos / ".set-aside").exists()


def test_a_folder_out_of_which_nothing_may_be_moved(bundle, tmp_path):
    data = make_folder(tmp_path / "spool", ["red", "green"], count=6)
    take_from_user(data / "green", 0o755)
    words = ("--once", "--settle", 0, "--interval", 0.05, "--train", "--strategy slda", "--json")
    done = edge_without_rights("watch", data, "--bundle", bundle, "--state", tmp_path / "s", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 6 and "files can't be moved out of it" in done.stderr


def test_nothing_that_may_be_read_is_an_error_that_says_so(tmp_path, bundle):
    data = make_folder(tmp_path / "photos", ["red"], count=1)
    take_from_user(data / "red")
    done = edge_without_rights("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data)
    assert done.returncode == 4 and f"red can't be read ({DENIED})" in done.stderr
    take_from_user(data)
    done = edge_without_rights("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data)
    assert done.returncode == 4 and f"can't be read: {DENIED}; check its owner" in done.stderr


def test_a_failing_card_is_not_called_a_broken_image(tmp_path, monkeypatch):
    data = make_folder(tmp_path / "photos", ["red"], count=1)

    def failing(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("lightcl_edge.data.decoding.Image.open", failing)
    with pytest.raises(DataError, match="Input/output error; the disk or card may be failing"):
        load_image(Path(data / "red" / "0.png"), INPUT)
