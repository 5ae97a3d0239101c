"""Rounds of a server over boards that come, go, are killed, erase and lie."""

from __future__ import annotations

import random
from hashlib import sha256

import numpy as np
import pytest

from fleet_device import NETWORK, SIZE, Device, assert_pooled, assert_same, devices_in, expected, rows
from lightcl_edge.files.durable import calls_through
from lightcl_edge.fleet.member import label
from lightcl_edge.fleet.pool import PoolFile
from lightcl_edge.fleet.share import shared
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.rounds import MERGE, SHARE, Packet, play_round
from lightcl_host.fleet.run import lines
from lightcl_host.fleet.store import Network, Store
from power_cut import Unsynced


class Killed(Exception):
    """The server's process ended."""


class Boards:
    """A way to devices. ``fate`` says of each message what becomes of it: answered, unheard, or done but unsaid."""

    def __init__(self, devices, fate=lambda what, node: "answered"):
        self.devices, self.fate, self.instead = devices, fate, {}

    def nodes(self):
        return range(len(self.devices))

    def ask(self, what, packets):
        answers = {}
        for node, packet in packets.items():
            fate = self.fate(what, node)
            if fate == "unheard":
                continue
            answer = getattr(self, what.partition(".")[2])(node, packet)
            if fate == "answered":
                answers[node] = answer
        return answers

    def share(self, node, packet):
        device = self.devices[node]
        content = device.share().read_bytes()
        board, record, _ = shared(device.board, device.sums, NETWORK)
        document = {"board": board.name, "boards": {name: of.version for name, of in device.sums.boards.items()}}
        if node in self.instead:
            return Packet(document, {"k": self.instead[node]})
        known = packet.document["known"].get(board.name) == label(record.version, record.digest)
        return Packet(document, {} if known else {"k": content})

    def merge(self, node, packet):
        device, paths = self.devices[node], []
        for content in packet.files.values():  # they stay: a device reads sums when it needs them
            paths.append(device.folder / sha256(content).hexdigest())
            paths[-1].write_bytes(content)
        before = set(device.sums.classes)
        device.merge(paths)
        erased = before - set(device.sums.classes)
        return Packet({"merged": list(packet.files)}, {"k": device.share().read_bytes()} if erased else {})


@pytest.mark.parametrize("pooled", [False, True])
def test_nothing_is_lost_or_counted_twice_whoever_is_killed(tmp_path, pooled):
    """100 rounds: boards are away, die before or after they did what they were asked, and so does the server."""
    chance, numbers = random.Random(4), np.random.default_rng(4)
    (tmp_path / "d").mkdir()
    devices, network, killed = devices_in(tmp_path / "d", 5), Network(NETWORK, SIZE), 0

    def keeper():
        return PoolKeeper(tmp_path / "store", network, None) if pooled else None

    def fate(what, node):
        if chance.random() < 0.03:
            raise Killed
        return chance.choice(["answered", "answered", "answered", "unheard", "unsaid"])

    with calls_through(Unsynced()):
        store, link = Store(tmp_path / "store", network), Boards(devices, fate)
        for number in range(100):
            device = chance.choice(devices)
            if chance.random() < 0.8:
                device.learn(chance.choice("abcdef"), rows(numbers, chance.randrange(1, 6)))
            elif device.sums.classes:
                device.forget(chance.choice(sorted(device.sums.classes)))
            try:
                done = play_round(number, link, store, keeper())
                assert not done.refused
            except Killed:
                killed, store = killed + 1, Store(tmp_path / "store", network)
        link.fate = lambda what, node: "answered"
        for number in range(100, 103):  # in the second a board without the class says that it heard of an erasure
            done = play_round(number, link, store, keeper())
        play_round(103, link, store, keeper())
    assert killed > 5 and not done.taken
    for device in devices:
        (assert_pooled if pooled else assert_same)(device.sums, expected(devices))
    assert expected(devices)


def test_a_round_sends_only_what_is_new_and_who_comes_later_catches_up(tmp_path):
    devices, numbers = devices_in(tmp_path, 3), np.random.default_rng(0)
    store, link = Store(tmp_path / "store", Network(NETWORK, SIZE)), Boards(devices)
    for name, device in zip("abc", devices, strict=True):
        device.learn(name, rows(numbers, 3))
    first = play_round(1, link, store)
    assert sorted(first.taken) == ["board0", "board1", "board2"] and set(devices[0].sums.classes) == set("abc")
    assert first.sent_bytes[0] == sum(store.path(board).stat().st_size for board in ("board1", "board2"))
    second = play_round(2, link, store)
    assert not second.taken and not any(second.received_bytes.values()) and not any(second.sent_bytes.values())
    late = Device("late", tmp_path)
    play_round(3, Boards([late]), store)
    assert_same(late.sums, expected(devices))  # with the server alone


def test_a_pool_takes_its_size_and_no_more(tmp_path):
    """Whatever the number of boards: the scatter's triangle, the totals, and a record."""
    devices, numbers = devices_in(tmp_path, 12), np.random.default_rng(0)
    network = Network(NETWORK, SIZE)
    store, link, keeper = Store(tmp_path / "store", network), Boards(devices), PoolKeeper(tmp_path, network, None)
    for device in devices:
        device.learn("cat", rows(numbers, 3))
    first = play_round(1, link, store, keeper)
    record_bytes = len(PoolFile(tmp_path / "pool.knowledge").text)
    assert set(first.sent_bytes.values()) == {(tmp_path / "pool.knowledge").stat().st_size}
    assert first.sent_bytes[0] - record_bytes < 4 * SIZE * (SIZE + 1) / 2 + 8 * SIZE + 400
    second = play_round(2, link, store, keeper)
    assert not any(second.sent_bytes.values()) and keeper.record.version == 1
    devices[0].learn("cat", rows(numbers, 3))
    play_round(3, link, store, PoolKeeper(tmp_path, network, None))
    for device in devices:
        assert_pooled(device.sums, expected(devices))


@pytest.mark.parametrize("pooled", [False, True])
def test_erasing_reaches_all_in_one_round_and_the_server(tmp_path, pooled):
    devices, numbers, network = devices_in(tmp_path, 3), np.random.default_rng(0), Network(NETWORK, SIZE)
    store, link = Store(tmp_path / "store", network), Boards(devices)
    keeper = PoolKeeper(tmp_path / "store", network, None) if pooled else None
    for device in devices:
        device.learn("cat", rows(numbers, 2))
        device.learn("dog", rows(numbers, 2))
    play_round(1, link, store, keeper)
    devices[1].forget("cat")
    play_round(2, link, store, keeper)
    for device in devices:
        (assert_pooled if pooled else assert_same)(device.sums, expected(devices))
    assert all(set(record.images) == {"dog"} for record in store.records.values())


def changed_content(device):
    """Another content under the version that the server knows."""
    other = Device(device.board.name, device.folder)
    other.learn("cat", np.full((2, SIZE), 0.5, np.float32))
    return other.share().read_bytes()


LIES = {
    "nonsense": (lambda device: b"nonsense", ""),
    "two boards of one name": (changed_content, "two boards have one name"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_board_that_lies_is_named_and_the_others_go_on(tmp_path, lie):
    devices, numbers = devices_in(tmp_path, 3), np.random.default_rng(0)
    store, link = Store(tmp_path / "store", Network(NETWORK, SIZE)), Boards(devices)
    make, message = LIES[lie]
    devices[2].learn("lie", rows(numbers, 3))
    if lie == "two boards of one name":
        play_round(0, link, store)
    devices[0].learn("cat", rows(numbers, 3))
    devices[1].learn("dog", rows(numbers, 3))
    link.instead[2] = make(devices[2])
    done = play_round(1, link, store)
    assert [each.node for each in done.refused] == [2] and done.refused[0].kind and message in done.refused[0].reason
    assert any("refused: " in line for line in lines(done))
    assert {"cat", "dog"} <= set(devices[0].sums.classes) and sorted(done.taken) == ["board0", "board1"]


def test_an_old_version_is_named_and_changes_nothing(tmp_path):
    (device,) = devices_in(tmp_path, 1)
    store, link = Store(tmp_path / "store", Network(NETWORK, SIZE)), Boards([device])
    device.learn("cat", np.full((2, SIZE), 0.25, np.float32))
    link.instead[0] = device.share().read_bytes()
    play_round(1, link, store)
    device.learn("cat", np.full((1, SIZE), 0.5, np.float32))
    old = link.instead.pop(0)
    play_round(2, link, store)
    link.instead[0] = old
    done = play_round(3, link, store)
    assert done.refused[0].kind is None and "version 2 of board board0 is here already" in done.refused[0].reason
    assert store.records["board0"].version == 2


def test_what_a_board_answers_is_not_believed(tmp_path):
    class Strange(Boards):
        def ask(self, what, packets):
            if what == MERGE:
                return {0: Packet({"error": {"kind": "RejectedError", "message": "no"}})}
            failed = Packet({"error": {"kind": "StateError", "message": "damaged"}})
            return {0: Packet({"board": 7, "boards": [1]}), 1: "it broke", 2: failed}

    devices = devices_in(tmp_path, 4)
    store = Store(tmp_path / "store", Network(NETWORK, SIZE))
    devices[3].learn("cat", np.full((2, SIZE), 0.25, np.float32))
    play_round(1, Boards(devices[3:]), store)
    done = play_round(2, Strange(devices), store)
    assert done.failures == {
        0: "RejectedError: no",
        1: "it broke",
        2: "StateError: damaged",
        3: f"no answer to {SHARE}",
    } and done.boards == {0: None}
