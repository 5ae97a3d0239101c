"""The app on Flower itself: its messages in one process, and a SuperLink with SuperNodes that are killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fleet.flower import Flower
from flower_programs import PROGRAMS, make_certificates, make_node_key, needs_flower
from lightcl_edge.data.sums import Sums
from lightcl_edge.files.durable import calls_through
from lightcl_edge.state.state import State
from power_cut import Unsynced
from small_bundle import make_bundle, make_folder

SUPPORT = Path(__file__).parents[2] / "support"
BOARDS = {"kitchen": ["red", "green"], "door": ["blue", "grey"], "yard": ["red", "blue"]}
#: Runs that are disturbed in the test with processes.
KILLS = int(os.environ.get("LIGHTCL_FLEET_KILLS", "3"))

#: What a SuperNode's log says once the server let it in.
IN = "SuperNode ID:"

pytestmark = needs_flower


@pytest.fixture
def fleet(edge, tmp_path):
    """A bundle, and three boards that taught two classes each."""
    make_bundle(tmp_path / "bundle")
    with calls_through(Unsynced()):
        for seed, (board, classes) in enumerate(BOARDS.items()):
            teach(edge, tmp_path, board, classes, seed)
    return tmp_path


def teach(edge, folder, board, classes, seed):
    data = make_folder(folder / "data" / f"{board}-{seed}", classes, seed=seed)
    more = ("--engine", "ort", "--strategy", "slda")
    edge("train", "--bundle", folder / "bundle", "--state", folder / board, "--data", data, *more)


def app():
    import lightcl_host.fleet

    return Path(lightcl_host.fleet.__file__).parent / "app"


def pooled(folder):
    """What all boards taught, added up here."""
    sums = [State(folder / board).read().sums for board in BOARDS]
    together = Sums(sums[0].size)
    for each in sums:
        for name, own in each.own.items():
            together = together.merge(Sums(each.size, {name: own}))
    return together


def assert_all_know_the_same(folder):
    wanted = pooled(folder)
    names = sorted(wanted.classes)
    expected = wanted.pooled(names)
    for board in BOARDS:
        sums = State(folder / board).read().sums
        assert sums.counts == wanted.counts, board
        found = sums.pooled(names)
        assert np.allclose(found.means, expected.means, rtol=1e-12)
        assert np.allclose(found.scatter, expected.scatter, atol=1e-5 * np.abs(expected.scatter).max())


def test_the_apps_messages(fleet):
    script = [PROGRAMS / "python", SUPPORT / "flower_in_process.py"]
    states = [fleet / board for board in BOARDS]
    done = subprocess.run(
        [*script, app(), fleet / "bundle", fleet / "store", *states], check=False, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_all_know_the_same(fleet)
    first, second = map(json.loads, (fleet / "store" / "rounds.jsonl").read_text().splitlines())
    assert len(first["taken"]) == 3 and first["failures"] == {"99": "it is away"} and not first["refused"]
    assert not second["taken"] and not any(second["sent_bytes"].values())


def rounds_of(folder):
    path = folder / "store" / "rounds.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until_round(folder, count, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(rounds_of(folder)) < count:
        time.sleep(0.5)
    return len(rounds_of(folder)) >= count


@pytest.mark.slow
def test_boards_and_the_server_are_killed(fleet, edge):
    """With TLS, and boards whose keys the server knows: nothing is lost or counted twice, and a stranger is out."""
    chance = random.Random(7)
    tls = make_certificates(fleet / "tls")
    config = {"bundle": str(fleet / "bundle"), "store": str(fleet / "store"), "boards": 3, "timeout-seconds": 90.0}
    with Flower(fleet / "flower", PROGRAMS, tls=tls) as flower:
        flower.start_superlink("--enable-supernode-auth")
        for board in (*BOARDS, "stranger"):
            public = make_node_key(fleet / f"{board}.node")
            if board != "stranger":
                flower.command("supernode", "register", str(public), "here", timeout_s=60)

        def start(board):
            key = ("--auth-supernode-private-key", str(fleet / f"{board}.node"))
            flower.start_supernode(board, {"state": str(fleet / board)}, *key)

        def restart(board):
            """As a supervisor does: until Flower has missed the old process's heartbeats and lets the board in."""
            before = flower.log(board).count(IN)
            end = time.monotonic() + 240
            while flower.log(board).count(IN) == before and time.monotonic() < end:
                with suppress(TimeoutError):  # it gave up already
                    if not flower.runs(board):
                        start(board)
                time.sleep(1)

        for board in (*BOARDS, "stranger"):
            start(board)
        for number in range(KILLS):
            flower.run(app(), config, 120)
            time.sleep(chance.uniform(3, 15))
            victim = chance.choice(["superlink", *BOARDS])
            flower.kill(victim)
            teach(edge, fleet, chance.choice(list(BOARDS)), ["green", "grey"], 10 + number)
            if victim == "superlink":
                flower.start_superlink("--enable-supernode-auth")
            else:
                restart(victim)
        for _ in range(4):  # a slow machine may need more than one
            done = len(rounds_of(fleet))
            flower.run(app(), config | {"rounds": 2}, 120)
            assert until_round(fleet, done + 2, 400), flower.log("superlink")[-2000:]
            if all(len(each["boards"]) == 3 and not each["failures"] for each in rounds_of(fleet)[-2:]):
                break
    assert not rounds_of(fleet)[-1]["failures"] and not any(each["refused"] for each in rounds_of(fleet))
    assert_all_know_the_same(fleet)
    names = {name for done in rounds_of(fleet) for name in done["boards"].values()}
    assert len(names) == 3 and None not in names  # the stranger has no state, so it would be here without a name
