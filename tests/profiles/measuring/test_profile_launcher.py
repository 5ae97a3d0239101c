"""The launcher: what a child process does to memory must be in the record, and how it ends in the error."""

from __future__ import annotations

from pathlib import Path

import pytest
from profile_samples import MIB, make_job

from lightcl_edge.errors import DataError, ExitCode, NoEngineError
from lightcl_edge.machine.process_memory import PhaseRecord
from lightcl_profiler.measuring.child import phases_with_starts
from lightcl_profiler.measuring.launcher import KilledError, run_method

pytestmark = pytest.mark.usefixtures("toy_path")


def test_the_peak_of_a_phase_shows_what_it_allocated(tmp_path: Path) -> None:
    run = run_method(make_job("Allocating", tmp_path), run=3)
    phases = {phase.name: phase for phase in run.phases}
    assert list(phases) == ["start", "big", "small 1", "small 2"]
    assert run.import_rss_bytes + 45 * MIB < phases["big"].peak_rss_bytes < run.import_rss_bytes + 70 * MIB
    assert phases["small 1"].peak_rss_bytes < phases["big"].peak_rss_bytes - 40 * MIB
    assert run.peak_rss_bytes >= phases["big"].peak_rss_bytes
    assert run.run == 3
    assert run.images == 10
    assert run.loss == 0.5
    assert run.notes == ["threads 1", f"scratch {tmp_path}"]


def test_the_timeline_covers_the_phases(tmp_path: Path) -> None:
    run = run_method(make_job("Allocating", tmp_path), run=1)
    big = next(phase for phase in run.phases if phase.name == "big")
    inside = [rss for t, rss, _ in run.timeline if big.start_seconds <= t <= big.start_seconds + big.seconds]
    assert max(inside) > run.import_rss_bytes + 45 * MIB
    assert [t for t, _, _ in run.timeline] == sorted(t for t, _, _ in run.timeline)
    assert 0.2 < run.wall_seconds < 60
    assert run.seconds_per_image >= 0.025
    assert run.anonymous_bytes is not None
    assert run.anonymous_bytes > 50 * MIB


def test_a_large_parent_does_not_count(tmp_path: Path) -> None:
    held = bytearray(b"x") * (300 * MIB)
    run = run_method(make_job("Allocating", tmp_path), run=1)
    assert run.peak_rss_bytes < 150 * MIB
    assert len(held) == 300 * MIB


def test_killed_for_memory(tmp_path: Path) -> None:
    with pytest.raises(KilledError, match="method 'toy-killed' in phase 'train' was killed by SIGKILL") as caught:
        run_method(make_job("Killed", tmp_path), run=1)
    assert caught.value.exit_code == ExitCode.DOES_NOT_FIT
    assert "memory runs out" in str(caught.value)


def test_an_instruction_this_processor_lacks(tmp_path: Path) -> None:
    with pytest.raises(KilledError, match="method 'toy-illegal' in phase 'start' was ended by SIGILL") as caught:
        run_method(make_job("Illegal", tmp_path), run=1)
    assert caught.value.exit_code == ExitCode.NO_ENGINE


def test_a_users_error_keeps_its_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'toy-baddata' in phase 'load': found no images, expected some"):
        run_method(make_job("BadData", tmp_path), run=1)


def test_a_bug_shows_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(NoEngineError, match=r"exit status 1 .*ZeroDivisionError: a bug in the method"):
        run_method(make_job("Broken", tmp_path), run=1)


def test_a_method_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"'profile_toys:Nothing' can't be loaded .* expected module:Class"):
        run_method(make_job("Nothing", tmp_path), run=1)


def test_a_loss_that_is_not_finite_is_a_note(tmp_path: Path) -> None:
    run = run_method(make_job("Diverging", tmp_path), run=1)
    assert run.loss is None
    assert run.notes == ["the loss became nan; a lower --learning-rate would keep it finite"]


def test_phases_are_numbered_when_they_repeat() -> None:
    records = [PhaseRecord(name, 1.0, 5) for name in ("import", "train", "train")]
    found = phases_with_starts(records, [("import", 0.0), ("train", 2.0), ("train", 4.0)])
    assert [(phase["name"], phase["at"]) for phase in found] == [
        ("import", 0.0),
        ("train 1", 2.0),
        ("train 2", 4.0),
    ]
