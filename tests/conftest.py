"""Fixtures shared by all rooms."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def bundle(tmp_path):
    """A tiny bundle."""
    from small_bundle import make_bundle

    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def edge():
    """Runs ``lightcl-edge`` in this process: gives exit code and the ``--json`` document's text."""
    import contextlib
    import io

    from lightcl_edge.cli import main

    def run(*arguments, code=0):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = main([str(argument) for argument in arguments])
        assert found == code, f"exit {found}, expected {code}: {err.getvalue()}"
        assert "Traceback" not in err.getvalue()
        return out.getvalue(), err.getvalue()

    return run
