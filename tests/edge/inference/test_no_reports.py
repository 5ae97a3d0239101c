"""The device tells nobody what it does: onnxruntime's own reports are off."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_LOAD = "import lightcl_edge.inference.sessions as s; s.import_onnxruntime().SessionOptions()"
_TRIAL = "import sys; sys.argv[1:] = ['ort']; import lightcl_edge.learning.engines.trial as t; t.main('ort')"


@pytest.mark.parametrize("code", [_LOAD, _TRIAL], ids=["session", "trial"])
def test_onnxruntime_keeps_no_number_for_the_device(tmp_path, code):
    # Under CI onnxruntime is silent anyway: the child must not know.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    subprocess.run([sys.executable, "-c", code], env={**kept, "HOME": str(tmp_path)}, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []


def test_the_user_may_want_reports():
    code = "import os, lightcl_edge; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert found.stdout == "0\n"
