"""State folders on FAT, exFAT, CIFS and NFS: what these refuse is done without, or refused with a clear message."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from lightcl_edge.files.durable import Calls
from small_bundle import make_folder

_FSYNC = os.fsync
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>

int fsync(int handle) {
  struct stat about;
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (fstat(handle, &about) == 0 && S_ISDIR(about.st_mode)) { errno = EINVAL; return -1; }
  return real(handle);
}
int link(const char *from, const char *to) { (void)from; (void)to; errno = EPERM; return -1; }
"""


def fails(code):
    def call(*_, **__):
        raise OSError(code, os.strerror(code))

    return call


@pytest.fixture
def no_folder_sync(monkeypatch):
    """As CIFS of older kernels and FAT: folders are not synced, hard links not made."""

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        _FSYNC(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", fails(errno.EPERM))


def test_everything_works_where_folders_are_not_synced(edge, bundle, tmp_path, no_folder_sync):
    state, spool = ("--state", tmp_path / "s"), make_folder(tmp_path / "spool", ["red", "green"], count=6, seed=1)
    data = make_folder(tmp_path / "first", ["red", "green"], count=6)
    more = ("--once", "--settle", 0, "--interval", 0.05, "--train", "--strategy slda")
    edge("train", "--bundle", bundle, *state, "--data", data, "--strategy", "slda")
    edge("train", *state, "--data", make_folder(tmp_path / "d", ["blue"], count=6), "--strategy", "slda")
    edge("forget", *state, "--class", "blue")
    edge("rollback", *state)
    assert json.loads(edge("watch", spool, *state, *more, "--json")[0])["images"] == 12
    assert json.loads(edge("predict", *state, tmp_path / "d", "--json")[0])["unreadable"] == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_other_errors_of_syncing_a_folder_count(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "fsync", fails(code))
    with pytest.raises(OSError, match=os.strerror(code)):
        Calls().sync_folder(tmp_path)


def test_a_file_that_is_not_synced_is_an_error(edge, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fails(errno.EINVAL))
    data = make_folder(tmp_path / "d", ["red", "green"], count=6)
    assert "Invalid argument" in edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, code=9)[1]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_without_locks_nothing_is_changed_and_reading_works(edge, bundle, tmp_path, monkeypatch, code):
    data, state = make_folder(tmp_path / "d", ["red", "green"], count=6), ("--state", tmp_path / "s")
    edge("train", "--bundle", bundle, *state, "--data", data, "--strategy", "slda")
    (tmp_path / "s" / "work").mkdir()
    monkeypatch.setattr(fcntl, "flock", fails(code))
    for words in (("train", "--data", data), ("forget", "--class", "red"), ("rollback",)):
        err = edge(*words, *state, code=6)[1]
        assert f"can't be locked ({os.strerror(code)})" in err and "mount NFS as version 4" in err
    assert json.loads(edge("status", *state, "--json")[0])["classes"] == ["green", "red"]
    edge("predict", *state, data)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler for the shim")
def test_a_process_on_such_a_file_system(bundle, tmp_path):
    (tmp_path / "shim.c").write_text(SHIM)
    library = tmp_path / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "shim.c", "-ldl"], check=True)
    data = make_folder(tmp_path / "d", ["red", "green"], count=6)
    words = ["train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--strategy", "slda", "--json"]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    command = [sys.executable, "-m", "lightcl_edge", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == ["green", "red"]
