"""Runs a command as a user who may read and move only what everybody may, even where the tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

#: Root's rights to pass over the owners and rights of files.
_OVERRIDES = "-dac_override,-dac_read_search,-fowner"


def edge_without_rights(*arguments) -> subprocess.CompletedProcess[str]:
    """Run ``lightcl-edge`` in a process of its own."""
    command = [sys.executable, "-m", "lightcl_edge", *map(str, arguments)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read anything, and there is no setpriv")
        command = ["setpriv", f"--bounding-set={_OVERRIDES}", "--inh-caps=-all", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def take_from_user(path, mode: int = 0o000) -> None:
    """Make a file or folder one that the user may not read: another owner's, where that is possible."""
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
