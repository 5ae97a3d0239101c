"""Every byte that is written into a state is counted, and a task can't write without end."""

from __future__ import annotations

import json

import numpy as np

from lightcl_edge.files.durable import calls_through
from lightcl_edge.learning import checkpoint
from lightcl_edge.learning.checkpoint import Checkpoints, Position
from lightcl_edge.state.written_bytes import RESERVED_BYTES, ByteCounter, Written, read_written
from power_cut import Unsynced
from small_bundle import make_folder


class Counting(Unsynced):
    """An independent count of what reaches the disk."""

    def __init__(self):
        self.bytes = 0

    def write(self, handle, data):
        written = super().write(handle, data)
        self.bytes += written
        return written


def status(edge, state):
    return json.loads(edge("status", "--state", state, "--json")[0])


def test_learned_rejected_and_rolled_back_all_count(edge, bundle, tmp_path):
    state, data, calls = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green"], count=30), Counting()
    swapped = make_folder(tmp_path / "x", ["red", "green"], count=30, seed=2)
    for name in ("red", "green"):
        (swapped / name).rename(swapped / f"{name}-")
    (swapped / "red-").rename(swapped / "green")
    (swapped / "green-").rename(swapped / "red")
    train = ("train", "--state", state, "--engine", "ort", "--strategy", "finetune", "--json")
    with calls_through(calls):
        document = json.loads(edge(*train, "--bundle", bundle, "--data", data)[0])
    locks = 10  # the number of the process in LOCK, which is written on another way, for each command
    assert abs(status(edge, state)["bytes_written_total"] - calls.bytes) < locks
    assert document["bytes_written"] > sum(p.stat().st_size for p in (state / "bundle").rglob("*") if p.is_file())
    before = calls.bytes
    with calls_through(calls):
        edge(*train, "--data", swapped, "--epochs", "40", "--max-forgetting", "0.1", code=7)
    assert status(edge, state)["generation"] == 1 and calls.bytes > before + 60 * 256
    with calls_through(calls):
        edge("rollback", "--state", state, "--to", "0")
    after = status(edge, state)
    assert after["generation"] == 0 and abs(after["bytes_written_total"] - calls.bytes) < 3 * locks
    assert after["bytes_written_total"] > document["bytes_written"]


def test_only_what_a_task_wrote_counts_as_a_tasks(edge, bundle, tmp_path):
    state, data = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green", "blue"], count=12)
    train = ("train", "--state", state, "--data", data, "--engine", "ort", "--epochs", "1", "--strategy", "ncm")
    edge(*train, "--bundle", bundle)
    by_train = status(edge, state)["bytes_written_last_task"]
    assert by_train > 10_000
    edge("forget", "--state", state, "--class", "red")
    edge("rollback", "--state", state)
    found = status(edge, state)
    assert found["bytes_written_last_task"] == by_train and found["bytes_written_running_task"] == 0
    edge(*train)
    again = status(edge, state)
    assert again["bytes_written_last_task"] < by_train, "without the bundle, and without what forgetting wrote"
    assert again["bytes_written_total"] > found["bytes_written_total"]


def test_a_killed_process_leaves_a_figure_that_is_not_too_small(tmp_path):
    counter = ByteCounter(tmp_path)
    written = 0
    for piece in (10, 2_000_000, 3_000_000, 1_000_000):
        counter.count.add(piece)
        written += piece
        assert written <= read_written(tmp_path).total_bytes <= written + RESERVED_BYTES + 1000


def test_a_damaged_count_starts_anew(tmp_path):
    (tmp_path / "written.json").write_text('{"total_bytes": -5}')
    assert read_written(tmp_path) == Written()
    assert ByteCounter(tmp_path).lost


def test_a_task_writes_a_bounded_number_of_checkpoints(tmp_path, monkeypatch):
    """However long it trains and however often it is resumed."""
    clock = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    saved, head, ages = 0, {"w": np.zeros(8, np.float32)}, []
    for _ in range(5):
        checkpoints = Checkpoints(tmp_path, "key")
        checkpoints.load()
        for _ in range(24 * 360):  # a day, ten seconds a step
            clock[0] += 10
            if checkpoints.due():
                checkpoints.save(Position(0, saved, 0.0), head)
                saved += 1
                ages.append(clock[0])
    assert saved == checkpoint.MOST_CHECKPOINTS
    gaps = np.diff(ages[:40])
    assert gaps.min() >= 30 and (gaps <= np.maximum(40, 0.1 * np.array(ages[:39]) + 10)).all()
