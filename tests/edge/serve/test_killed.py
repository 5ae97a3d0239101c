"""Killed at random instants while people teach and learn, the server loses nothing that it has acknowledged."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import numpy as np
import pytest

from lightcl_edge.state.state import State
from served import picture
from server_process import ServerProcess

#: LIGHTCL_KILLS sets the slow test's count.
KILLS = [2, pytest.param(int(os.environ.get("LIGHTCL_KILLS", "200")), marks=pytest.mark.slow)]


def children_of(pid):
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, IndexError):
                if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(path.name))
    return found


class People:
    """Teach and learn as fast as they are let, and note every picture that was acknowledged."""

    def __init__(self, seed):
        self.acknowledged, self._seed, self._stop = set(), seed, threading.Event()
        self._thread = None

    def begin(self, api):
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, args=(api,))
        self._thread.start()

    def end(self):
        self._stop.set()
        self._thread.join()

    def _work(self, api):
        turn = 0
        while not self._stop.is_set():
            with suppress(httpx2.TransportError):
                for colour in ("red", "green"):
                    self._seed += 1
                    answer = api.post("/teach", params={"class_name": colour}, content=picture(colour, self._seed))
                    if answer.status_code == 201:
                        self.acknowledged.add(answer.json()["id"])
                turn += 1
                if turn % 4 == 0:
                    api.post("/learn", json={"anyway": True})
            time.sleep(0.02)


@pytest.mark.parametrize("kills", KILLS)
def test_nothing_that_was_acknowledged_is_lost(bundle, tmp_path, kills):
    state, random = tmp_path / "state", np.random.default_rng(kills)
    people, learning = People(kills), 0
    for _ in range(kills):
        with ServerProcess(state, "--keep-frames", bundle=bundle) as server:
            people.begin(server.api)
            time.sleep(0.3 + float(random.random()) * 4)
            found = children_of(server.process.pid)
            learning += bool(found)
            learners = found if random.random() < 0.7 else []  # else it lives on
            for pid in [server.process.pid, *learners]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            people.end()
    with ServerProcess(state, "--keep-frames", bundle=bundle) as server:
        until = time.monotonic() + 120
        while server.api.get("/learn").json()["running"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        waiting = {each["id"] for each in server.api.get("/taught").json()["pictures"]}
    kept = [path.stem for path in (state / "serve" / "spool").rglob("*.jpg") if path.stem not in waiting]
    assert len(kept) == len(set(kept))  # none was learned twice
    assert people.acknowledged <= waiting | set(kept) and len(people.acknowledged) > 2 * kills
    number = State(state).current_number()
    print(f"{kills} kills, {learning} of them while it learned; {len(people.acknowledged)} pictures were acknowledged")
    print(f"{len(waiting)} wait, {len(kept)} were learned; generation {number}")
    assert number == 0 or State(state).is_whole(number)
