"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path[:0] = [str(Path(__file__).parent / "support" / each) for each in (".", "serving", "fuzzing")]
# Side by side, each on a processor of its own: threads that wait for work spin, and would take turns with the others'.
if (worker := os.environ.get("PYTEST_XDIST_WORKER", "")).startswith("gw"):
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {usable[int(worker[2:]) % len(usable)]})
# A shell starts what it runs in the background without Ctrl-C, and programs that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How fast examples are drawn says more about the machine than about the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def no_memory_is_given_back():
    """Collecting garbage and dropping library pages costs four times what a tiny network's training does.

    ``test_freeing.py`` proves that it works; processes that tests start do it.
    """
    from lightcl_edge.machine import freeing

    with pytest.MonkeyPatch.context() as patch:  # its code, since others have imported the function by name
        patch.setattr(freeing.give_back, "__code__", (lambda: None).__code__)
        yield


@pytest.fixture
def bundle(tmp_path):
    """A tiny bundle."""
    from small_bundle import make_bundle

    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def manifests_read_once(monkeypatch):
    """For tests that open one bundle a thousand times: reading its manifest would take half of their time."""
    from functools import lru_cache

    from lightcl_edge.bundle import bundle as module

    monkeypatch.setattr(module, "parse_manifest", lru_cache(module.parse_manifest))


@pytest.fixture(scope="session")
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
