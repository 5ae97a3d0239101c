"""What a run may take of the machine's memory: what is free, the control group's limit, the budget."""

from __future__ import annotations

import psutil
import pytest

from lightcl_edge.machine import memory_limits as limits
from lightcl_edge.machine import process_memory

MIB = 2**20


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A control group as the kernel shows it."""

    def make(**files):
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        limit = int(files.get("memory__limit_in_bytes", files.get("memory__max", "0")))
        monkeypatch.setattr(limits, "_group_limits", lambda: ("v1", [(tmp_path, limit)]))
        monkeypatch.setattr(process_memory, "kib_fields", lambda path: {"RssAnon": 10 * MIB})

    return make


def test_others_in_the_group_count_with_what_they_hold(group):
    group(memory__limit_in_bytes=str(256 * MIB), memory__stat=f"cache 1\ntotal_rss {40 * MIB}\ntotal_shmem {MIB}\n")
    assert limits.cgroup_room_bytes() == (256 - 30 - 1) * MIB
    group(memory__max=str(100 * MIB), memory__stat=f"anon {12 * MIB}\nshmem 0\nfile {50 * MIB}\n")
    assert limits.cgroup_room_bytes() == 98 * MIB


def test_a_group_that_says_nothing_of_its_content_still_limits(group):
    group(memory__max=str(100 * MIB))
    assert limits.cgroup_room_bytes() == 100 * MIB


def test_without_a_limit_the_machine_decides(monkeypatch):
    monkeypatch.setattr(limits, "_group_limits", lambda: ("unavailable", []))
    assert limits.cgroup_room_bytes() is None
    assert limits.available_bytes() > 0


def test_a_budget_never_allows_more_than_there_is(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 144 * MIB)
    assert limits.allowed_bytes(None) == 144 * MIB
    assert limits.allowed_bytes(100 * MIB) == 100 * MIB
    assert limits.allowed_bytes(300 * MIB) == 144 * MIB
    assert limits.allowed_bytes(limits.UNCHECKED_BYTES) == limits.UNCHECKED_BYTES


def test_what_is_left_counts_pages_that_can_be_taken_back(monkeypatch):
    own = process_memory.sample(with_pss=False)
    monkeypatch.setattr(limits, "cgroup_room_bytes", lambda: own.anonymous_bytes + 30 * MIB)
    assert 10 * MIB < limits.spare_bytes() < 15 * MIB + 2**20  # less the reserve of 16 MiB, whatever its libraries take


def test_available_memory_is_the_kernels_figure(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16000 kB\nMemAvailable:    1234 kB\n")
    assert limits.machine_available_bytes(meminfo) == 1234 * 1024
    asked = psutil.virtual_memory().available
    assert limits.machine_available_bytes() == pytest.approx(asked, rel=0.2)
    meminfo.write_text("MemFree: 5 kB\n")
    assert limits.machine_available_bytes(meminfo) == pytest.approx(asked, rel=0.2)
