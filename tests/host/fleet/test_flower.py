"""The app on Flower itself: a SuperLink with SuperNodes that fail and lie."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fleet.flower import Flower
from flower_programs import PROGRAMS, make_certificates, make_node_key, needs_flower
from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.bundle.signature import make_key_pair, read_private_key
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import DataError
from lightcl_edge.files.durable import calls_through
from lightcl_edge.files.tensors import TensorFile
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.recorded_file import hash_of, write_recorded
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.state.state import State
from namespaces import Machines, needs_namespaces
from power_cut import Unsynced
from small_bundle import make_bundle, make_folder

SUPPORT = Path(__file__).parents[2] / "support"
BOARDS = {
    "kitchen": ["red", "green"],
    "door": ["blue", "grey"],
    "yard": ["red", "blue"],
    "attic": ["grey", "red"],
}
#: Rounds that are disturbed in the test with processes.
ROUNDS = int(os.environ.get("LIGHTCL_FLEET_ROUNDS", "10"))

pytestmark = needs_flower


@pytest.fixture
def fleet(edge, tmp_path):
    """A bundle, and four boards that taught two classes each."""
    make_bundle(tmp_path / "bundle")
    with calls_through(Unsynced()):
        for seed, (board, classes) in enumerate(BOARDS.items()):
            teach(edge, tmp_path, board, classes, seed)
    return tmp_path


def teach(edge, folder, board, classes, seed):
    data = make_folder(folder / "data" / f"{board}-{seed}", classes, seed=seed)
    words = ("--bundle", folder / "bundle", "--state", folder / board, "--data", data, "--engine", "ort")
    while True:
        try:
            return edge("train", *words, "--strategy", "slda")
        except AssertionError as error:  # it takes in what others taught
            if "being changed by another process" not in str(error):
                raise


def app():
    import lightcl_host.fleet

    return Path(lightcl_host.fleet.__file__).parent / "app"


def pooled(folder, *more):
    """What all boards taught, added up here."""
    sums = [State(folder / board).read().sums for board in (*BOARDS, *more)]
    together = Sums(sums[0].size)
    for each in sums:
        for name, own in each.own.items():
            together = together.merge(Sums(each.size, {name: own}))
    return together


def assert_all_know_the_same(folder, *more):
    """Every board the same as each other, and as ``more`` boards taught too."""
    wanted, answers = pooled(folder, *more), []
    names = sorted(wanted.classes)
    expected = wanted.pooled(names)
    for board in BOARDS:
        sums = State(folder / board).read().sums
        assert sums.counts == wanted.counts, board
        found = sums.pooled(names)
        assert np.allclose(found.means, expected.means, rtol=1e-12)
        assert np.allclose(found.scatter, expected.scatter, atol=1e-5 * np.abs(expected.scatter).max())
        generation = State(folder / board).read()
        rows = [generation.meta.classes.index(name) for name in names]
        taps = np.random.default_rng(0).normal(size=(200, sums.size)).astype(np.float32)
        answers.append(classifier_of(generation).logits(taps, None)[:, rows].argmax(axis=1))
    assert all((each == answers[0]).all() for each in answers)


def rounds_of(folder):
    path = folder / "store" / "rounds.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Shop:
    """A SuperLink and boards on machines of their own, with TLS and keys that the server knows."""

    def __init__(self, folder, edge, machines, flower, **config):
        self.folder, self.edge, self.machines, self.flower, self.config = folder, edge, machines, flower, config
        self.happened, self.seed = Counter(), 10
        self.started: dict[str, float] = {}
        flower.start_superlink("--enable-supernode-auth")
        for board in (*BOARDS, "liar", "stranger"):
            public = make_node_key(folder / f"{board}.node")
            if board != "stranger":
                flower.command("supernode", "register", str(public), "here", timeout_s=120)

    def run(self, rounds):
        paths = {"bundle": self.folder / "bundle", "store": self.folder / "store", "key": self.folder / "fleet.pub"}
        config = {name: str(path) for name, path in paths.items()}
        self.flower.run(app(), config | self.config | {"rounds": rounds, "timeout-seconds": 25.0}, 180)

    def tend(self):
        """Start what does not run, as a supervisor does; Flower lets a killed board in again after a minute."""
        for board in (*BOARDS, *(["liar"] if (self.folder / "lies").exists() else [])):
            if not self.flower.runs(board) and time.monotonic() > self.started.get(board, 0) + 20:
                self.start(board)

    def start(self, board):
        self.started[board] = time.monotonic()
        key = ("--auth-supernode-private-key", str(self.folder / f"{board}.node"))
        config = {"state": str(self.folder / board), "sign": str(self.folder / "fleet.key")}
        more = {"PYTHONPATH": os.pathsep.join([str(SUPPORT / "flower_site"), os.environ.get("PYTHONPATH", "")])}
        if board == "liar":
            more["LIGHTCL_LIES"] = str(self.folder / "lies")
        self.flower.start_supernode(board, config, *key, environment=more)

    def disturb(self, chance):
        """Kill the server or a board, or pull a board's cable for a moment; then a board is taught something."""
        what, board = chance.choice(["server", "board", "board", "board", "cable"]), chance.choice(list(BOARDS))
        self.happened[what] += 1
        if what == "cable":
            self.machines.plug(board, "down")
            time.sleep(5)
            self.machines.plug(board, "up")
        elif what == "board":
            self.flower.kill(board)
        self.seed += 1
        for each in chance.sample(list(BOARDS), self.config.get("least-boards", 1)):
            teach(self.edge, self.folder, each, ["green", "grey"], self.seed)
        if what == "server":
            self.begin_again(ROUNDS)

    def begin_again(self, rounds):
        self.flower.kill("superlink")
        self.flower.start_superlink("--enable-supernode-auth")
        self.run(rounds - len(rounds_of(self.folder)))

    def until(self, rounds, chance=None):
        """Wait for so many rounds; with a chance, something happens in the midst of one in every few."""
        last, since, then, stalls = -1, 0.0, 0, 0
        while (done := len(rounds_of(self.folder))) < rounds:
            if done > last:
                last, since = done, time.monotonic()
            if time.monotonic() > since + 200:  # on a machine that stalls Flower's own processes give up
                stalls, since = stalls + 1, time.monotonic()
                assert stalls < 4, self.flower.log("superlink")[-3000:]
                self.begin_again(rounds)
            self.tend()
            time.sleep(1)
            if chance is not None and done >= then:
                time.sleep(chance.uniform(0, 15))
                self.disturb(chance)
                then = done + chance.choice([2, 3, 4])


def make_lies(folder, edge):
    """Files of the board ``liar``: first what it taught, then lies. An old version of it is among them."""
    lies = folder / "lies"
    lies.mkdir()
    for name in ("fleet", "other"):
        make_key_pair(folder / name)
    for seed, name in enumerate(("1-old", "0-truth"), 98):
        teach(edge, folder, "liar", ["grey"], seed)
        sign = ("--sign", folder / "fleet.key", "--board", "liar")
        edge("share", "--state", folder / "liar", "--out", lies / name, *sign)
    file = TensorFile(lies / "0-truth", DataError)
    record = replace(Knowledge(lies / "0-truth").record, version=3)
    tensors = {name: file[name] for name in record.tensors}
    nan = {name: np.full_like(values, np.nan) for name, values in tensors.items()}
    for name, key, content, changed in (
        ("2-nan", "fleet", nan, {"tensors": {name: hash_of(each) for name, each in nan.items()}}),
        ("3-many", "fleet", tensors, {"images": dict.fromkeys(record.images, 9_999_999)}),
        ("4-trunk", "fleet", tensors, {"network": "1" * 64}),
        ("5-key", "other", tensors, {}),
    ):
        write_recorded(lies / name, replace(record, **changed), content, read_private_key(folder / f"{key}.key"))


def play(fleet, send, heads=0, gone=0):
    """Two rounds in one process, where an answer of no board is an error: what a run of Flower takes minutes for."""
    where = fleet / "bundle", fleet / "store", send, str(heads), str(gone)
    script = [PROGRAMS / "python", SUPPORT / "flower_in_process.py", app(), *where]
    states = [fleet / board for board in BOARDS]
    done = subprocess.run([*script, *states], check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_board_that_goes_away_while_keys_are_exchanged_is_left_out_and_named(fleet):
    play(fleet, "secure", gone=1)
    first, second = rounds_of(fleet)
    assert len(first["taken"]) == len(BOARDS) - 1 and "while keys" in first["failures"]["1"]
    assert not second["taken"] and "1 of the 3 boards" in second["note"]


@pytest.mark.parametrize(("send", "heads"), [("files", 2), ("pool", 0), ("secure", 0)])
def test_the_apps_messages(fleet, send, heads):
    play(fleet, send, heads)
    assert_all_know_the_same(fleet)
    first, second = rounds_of(fleet)
    assert len(first["taken"]) == len(BOARDS) and first["failures"] == {"99": "it is away"} and not first["refused"]
    assert not second["taken"] and not any(second["sent_bytes"].values())
    files = sorted(path.name for path in (fleet / "store" / "boards").iterdir())
    assert (first["heads"] > 1) == bool(heads) and not second["heads"]
    learned = [State(fleet / board).read() for board in BOARDS]
    took = [each.parameters for each in learned if each.meta.strategy == "replay"]  # where it is of use
    assert len(took) == first["heads"]
    for name in set(took[0]) - {WEIGHT, BIAS} if took else ():  # whose rows have an order of their own on each board
        assert all((each[name] == took[0][name]).all() for each in took)
    assert bool(files) == (send != "secure"), "only sums reach the server"


REASONS = ("version 2 of board liar is here already", "NaN", "expected 9999999", "another network", "signed by key")


@pytest.mark.slow
@needs_namespaces
def test_boards_the_server_and_cables_fail_and_a_board_lies(fleet, edge):
    """Nothing is lost or counted twice, the liar is named, and who is not registered is out."""
    make_lies(fleet, edge)
    names = ["superlink", *BOARDS, "liar", "stranger"]
    with Machines(names) as machines:
        place, inside = machines.address("superlink"), {name: machines.inside(name) for name in names}
        tls = make_certificates(fleet / "tls", place)
        with Flower(fleet / "flower", PROGRAMS, tls=tls, address=place, inside=inside) as flower:
            shop = Shop(fleet, edge, machines, flower)
            shop.start("stranger")
            shop.run(ROUNDS)
            shop.until(ROUNDS, random.Random(7))
            for _ in range(4):  # a slow machine may need more than one
                done = len(rounds_of(fleet))
                shop.run(2)
                shop.until(done + 2)
                calm = rounds_of(fleet)[-2:]
                if all(len(each["boards"]) == len(BOARDS) + 1 and not each["failures"] for each in calm):
                    break
            logs = "".join(map(flower.log, (*BOARDS, "liar")))
    assert "Flower's process has loaded" not in logs
    rounds = rounds_of(fleet)
    print(dict(shop.happened), len(rounds), "rounds", sum(each["seconds"] for each in rounds) / len(rounds), "s each")
    assert not rounds[-1]["failures"] and not rounds[-1]["taken"]
    assert_all_know_the_same(fleet, "liar")
    refused = [each for done in rounds for each in done["refused"]]
    assert {each["board"] for each in refused} == {"liar"}
    assert all(any(reason in each["reason"] for each in refused) for reason in REASONS), refused
    names = {name for done in rounds for name in done["boards"].values()}
    assert len(names) == len(BOARDS) + 1 and None not in names  # the stranger has no state, so it would have no name


@pytest.mark.slow
@needs_namespaces
def test_secure_sums_while_boards_and_the_server_are_killed(fleet, edge):
    """SecAgg+ over TLS: nothing is lost or counted twice, and the server never has a board's own sums."""
    make_key_pair(fleet / "fleet")
    names = ["superlink", *BOARDS]
    with Machines(names) as machines:
        place, inside = machines.address("superlink"), {name: machines.inside(name) for name in names}
        tls = make_certificates(fleet / "tls", place)
        with Flower(fleet / "flower", PROGRAMS, tls=tls, address=place, inside=inside) as flower:
            more = {"send": "secure", "sign": str(fleet / "fleet.key"), "least-boards": 2}
            shop = Shop(fleet, edge, machines, flower, **more)
            shop.run(ROUNDS)
            shop.until(ROUNDS, random.Random(8))
            for _ in range(4):
                done = len(rounds_of(fleet))
                for board in BOARDS:  # so that enough have something new
                    shop.seed += 1
                    teach(edge, fleet, board, ["green", "grey"], shop.seed)
                shop.run(2)
                shop.until(done + 2)
                calm = rounds_of(fleet)[-2:]
                if all(len(each["boards"]) == len(BOARDS) and not each["failures"] for each in calm):
                    break
    rounds = rounds_of(fleet)
    print(dict(shop.happened), len(rounds), "rounds", sum(len(each["taken"]) > 1 for each in rounds), "added up")
    assert not rounds[-1]["failures"] and shop.happened["board"]
    assert_all_know_the_same(fleet)
    assert not list((fleet / "store" / "boards").iterdir())
