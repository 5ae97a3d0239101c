"""Probes beside RSS: control groups and limits, the machine's health, memory that RSS leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest
from profile_samples import MIB, make_job

from lightcl_edge.machine.health import Health, look, slowed_down
from lightcl_profiler.measuring.launcher import run_method
from lightcl_profiler.measuring.memory_group import MemoryGroup, NoGroupError
from lightcl_profiler.measuring.shared_memory import bytes_written, mem_available_bytes, nvmap_bytes, torch_cuda_peaks
from lightcl_profiler.measuring.smallest_limit import bisect, find_smallest_limit
from lightcl_profiler.records.record import Trial


def a_group() -> MemoryGroup:
    try:
        return MemoryGroup()
    except NoGroupError as error:
        pytest.skip(f"no memory control group can be made here: {error}")


@pytest.mark.parametrize("needed", [5 * MIB, 77 * MIB, 255 * MIB])
def test_bisection_finds_the_smallest_limit(needed: int) -> None:
    tried: list[int] = []

    def attempt(limit: int) -> Trial:
        tried.append(limit)
        return Trial(limit, limit >= needed, None if limit >= needed else "killed", 0.1)

    found = bisect("m", 256 * MIB, attempt)
    assert found.smallest_bytes is not None
    assert needed <= found.smallest_bytes <= needed * 1.03 + MIB
    assert len(tried) <= 9
    assert found.trials[0].limit_bytes == 256 * MIB


def test_a_method_that_needs_more_than_the_highest_limit() -> None:
    found = bisect("m", 64 * MIB, lambda limit: Trial(limit, False, "killed by SIGKILL", 1.0))
    assert found.smallest_bytes is None
    assert len(found.trials) == 1
    assert found.reason == "it does not complete under 64.0 MiB: killed by SIGKILL"


@pytest.mark.usefixtures("toy_path")
def test_a_group_counts_the_process_and_is_removed(tmp_path: Path) -> None:
    group = a_group()
    try:
        run = run_method(make_job("Allocating", tmp_path), 1, group)
    finally:
        group.close()
    assert run.cgroup_peak_bytes is not None
    assert 50 * MIB < run.cgroup_peak_bytes < 120 * MIB
    assert not group.folder.exists()


@pytest.mark.usefixtures("toy_path")
def test_the_kernel_enforces_the_limit(tmp_path: Path) -> None:
    a_group().close()
    job = make_job("Allocating", tmp_path)
    found = find_smallest_limit("toy", lambda: [job], 200 * MIB, 1.0)
    assert found.smallest_bytes is not None
    assert 50 * MIB < found.smallest_bytes < 110 * MIB
    assert any("SIGKILL" in (trial.reason or "") for trial in found.trials)


@pytest.mark.usefixtures("toy_path")
def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"not done after 0 s"):
        run_method(make_job("Allocating", tmp_path), 1, timeout_seconds=0.1)


def test_a_kernel_without_groups_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoGroupError, match="this kernel has no memory control group"):
        MemoryGroup(v1_root=tmp_path / "v1", v2_root=tmp_path / "v2")


def test_version_2_without_rights_says_what_to_do(tmp_path: Path) -> None:
    root = tmp_path / "v2"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu memory\n")
    (root / "cgroup.subtree_control").write_text("")
    group = MemoryGroup(v1_root=tmp_path / "none", v2_root=root, limit_bytes=5 * MIB)
    assert (root / "cgroup.subtree_control").read_text() == "+memory"
    assert (group.folder / "memory.max").read_text() == str(5 * MIB)
    assert group.peak_bytes() is None
    (group.folder / "memory.peak").write_text("123\n")
    assert group.peak_bytes() == 123
    assert group.command(["x"])[-2:] == [str(group.folder / "cgroup.procs"), "x"]


def test_health_from_a_raspberry_pis_files(tmp_path: Path) -> None:
    files = {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1800000",
        "sys/class/thermal/thermal_zone0/temp": "65400",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = look(tmp_path)
    assert (found.clock_hz, found.temperature_celsius) == (1_800_000_000, 65.4)
    assert found.throttled is not None
    assert "under-voltage now" in found.throttled
    assert "throttled since the start" in found.throttled
    assert look(tmp_path / "nowhere") == Health(None, None, None, None)
    assert slowed_down(Health(None, None, None, "no"), found)
    assert slowed_down(Health(None, None, 4, None), Health(None, None, 5, None))
    assert not slowed_down(Health(None, None, 4, None), Health(None, None, 4, None))
    assert not slowed_down(None, found)


def test_memory_that_rss_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "clients").write_text("CLIENT PROCESS PID SIZE\nuser python 77 100K\ntotal                    2048K\n")
    assert nvmap_bytes(tmp_path / "clients") == 2 * MIB
    assert nvmap_bytes(tmp_path / "none") is None
    assert (mem_available_bytes() or 0) > MIB
    assert mem_available_bytes(tmp_path / "none") is None
    assert torch_cuda_peaks() == {"cuda_allocated_peak_bytes": None, "cuda_reserved_peak_bytes": None}
    before = bytes_written()
    if before is not None:
        assert before >= 0
