"""Rounds in which the server sees sums only: boards come, go, are killed, erase, lose their files and lie."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_device import NETWORK, SIZE, assert_pooled, devices_in, expected, rows
from lightcl_edge.data.sums import Sums
from lightcl_edge.files.durable import calls_through
from lightcl_edge.fleet.arrivals import sort_out
from lightcl_edge.fleet.fixed_point import Layout, largest
from lightcl_edge.fleet.moments import Moments
from lightcl_edge.fleet.sifting import Me, sift
from lightcl_edge.state.board import with_erased
from lightcl_host.fleet.page import fleet_page
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.rounds import Packet
from lightcl_host.fleet.run import lines
from lightcl_host.fleet.secure_rounds import Added, play_secure_round
from lightcl_host.fleet.store import Network
from power_cut import Unsynced

NET = Network(NETWORK, SIZE)


class Killed(Exception):
    """The server's process ended."""


class Boards:
    """A way to devices that adds in the open. ``fate`` says of each message what becomes of it."""

    def __init__(self, devices, fate=lambda what, node: "answered"):
        self.devices, self.fate, self.lies, self.says, self.added = devices, fate, {}, {}, []

    def nodes(self):
        return range(len(self.devices))

    def kept(self, node):
        return self.devices[node].kept

    def ask(self, what, packets):
        answers = {}
        for node, packet in packets.items():
            fate = self.fate(what, node)
            if fate != "unheard":
                answer = getattr(self, what.partition(".")[2])(node, packet)
                answers |= {node: answer} if fate == "answered" else {}
        return answers

    def announce(self, node, packet):
        device = self.devices[node]
        path = device.share()
        if node in self.says:
            return Packet(self.says[node])
        before = packet.document["counted"].get(device.board.name, 0)
        device.kept.keep(device.board.version, path, before)
        versions = {name: of.version for name, of in device.sums.boards.items()}
        document = {"board": device.board.name, "version": device.board.version, "boards": versions}
        document["classes"] = list(device.sums.own)
        return Packet(self.kept(node).announcement(document, before, packet.document["erased"]))

    def add(self, orders, bits, least):
        vectors = {n: self.kept(n).vector(order) for n, order in orders.items() if self.fate("add", n) == "answered"}
        assert all((np.abs(vector) < 2 ** (bits - 1)).all() for vector in vectors.values())
        self.added.append(len(vectors))
        vectors |= {node: self.lies[node](vectors[node]) for node in self.lies}
        return Added(sum(vectors.values()), frozenset(vectors)) if len(vectors) > 1 else "too few answered"

    def merge(self, node, packet):
        device, before = self.devices[node], set(self.devices[node].sums.classes)
        (content,) = packet.files.values()
        path = device.folder / f"pool-{random.random()}"
        path.write_bytes(content)
        device.merge([path])
        if before - set(device.sums.classes):
            lose(device)  # as forget does
        return Packet({"merged": list(packet.files)})


def lose(device):
    shutil.rmtree(device.folder / f"shared-{device.board.name}", ignore_errors=True)


def test_nothing_is_lost_or_counted_twice_whoever_is_killed(tmp_path):
    chance, numbers = random.Random(5), np.random.default_rng(5)
    (tmp_path / "d").mkdir()
    devices, killed, notes = devices_in(tmp_path / "d", 5), 0, []

    def fate(what, node):
        if chance.random() < 0.03:
            raise Killed
        return chance.choice(["answered"] * 4 + ["unheard", "unsaid"])

    with calls_through(Unsynced()):
        link = Boards(devices, fate)
        for number in range(100):
            device = chance.choice(devices)
            if chance.random() < 0.9:
                device.learn(chance.choice("abcdef"), rows(numbers, chance.randrange(1, 6)))
            elif device.sums.classes:
                device.forget(chance.choice(sorted(device.sums.classes)))
                lose(device)
            try:
                notes.append(play_secure_round(number, link, PoolKeeper(tmp_path, NET, None), 2).note)
            except Killed:
                killed += 1
        link.fate = lambda what, node: "answered"
        for number in range(100, 104):
            for device in devices:  # so that enough have something new
                device.learn("a", rows(numbers, 1))
            play_secure_round(number, link, PoolKeeper(tmp_path, NET, None), 2)
    assert killed > 5 and len(link.added) > 20 and any("begun again" in each for each in notes)
    for device in devices:
        assert_pooled(device.sums, expected(devices))


@pytest.fixture
def three(tmp_path):
    """Boards that taught something each, a way to them, and the server's pool."""
    numbers = np.random.default_rng(0)
    devices = devices_in(tmp_path, 3)
    for device in devices:
        device.learn("cat", rows(numbers, 2))
        device.learn("dog", rows(numbers, 2))
    return devices, Boards(devices), PoolKeeper(tmp_path, NET, None)


def test_fewer_boards_with_something_new_are_not_added_up(three):
    devices, link, keeper = three
    assert len(play_secure_round(1, link, keeper, 3).taken) == 3 and link.added == [3]
    devices[0].learn("cat", np.full((1, SIZE), 0.5, np.float32))
    done = play_secure_round(2, link, keeper, 3)
    assert link.added == [3] and "1 of the 3 boards" in done.note and done.note in lines(done)[1]
    assert not any(done.sent_bytes.values()) and devices[1].sums.counts == {"cat": 6, "dog": 6}
    for device in devices[1:]:
        device.learn("dog", np.full((1, SIZE), 0.5, np.float32))
    play_secure_round(3, link, keeper, 3)
    assert devices[1].sums.counts == {"cat": 7, "dog": 8}


def test_the_page_tells_what_is_known_together(three):
    _, link, keeper = three
    done = {"ended": 1.8e9, **asdict(play_secure_round(1, link, keeper, 3))}
    page = fleet_page({keeper.record.board: keeper.record}, [json.loads(json.dumps(done))])
    assert "3 boards know 2 classes together" in page and "cat (6), dog (6)" in page
    assert "<td>board1</td><td>1</td>" in page, "the version that is counted"


def test_erasing_reaches_all_and_the_pool_begins_again(three):
    devices, link, keeper = three
    play_secure_round(1, link, keeper, 3)
    devices[1].forget("cat")
    done = play_secure_round(2, link, keeper, 3)
    assert "begun again" in done.note and keeper.record.images == {"dog": 6}
    assert keeper.record.erased and not keeper.begins_again
    play_secure_round(3, link, keeper, 3)
    for device in devices:
        assert_pooled(device.sums, expected(devices))


def test_a_board_that_lost_its_files_makes_the_pool_begin_again(three):
    devices, link, keeper = three
    play_secure_round(1, link, keeper, 3)
    lose(devices[0])
    devices[0].learn("cat", np.full((1, SIZE), 0.5, np.float32))
    assert "begun again" in play_secure_round(2, link, keeper, 3).note
    for device in devices:
        assert_pooled(device.sums, expected(devices))


def test_an_impossible_sum_is_not_taken_and_the_boards_are_named(three):
    devices, link, keeper = three
    link.lies = {1: lambda vector: -5 * vector}
    done = play_secure_round(1, link, keeper, 3)
    assert "board0, board1, board2 is not taken" in done.note and not done.taken and not keeper.record.images
    link.lies = {}
    play_secure_round(2, link, keeper, 3)
    for device in devices:
        assert_pooled(device.sums, expected(devices))


def test_two_boards_of_one_name_are_not_both_added(three):
    devices, link, keeper = three
    devices[2].board = devices[1].board
    done = play_secure_round(1, link, keeper, 2)
    assert "is called board1 too" in done.failures[2] and keeper.record.counted == {"board0": 1, "board1": 1}


@given(st.integers(1, 1000), st.integers(0, 2**16))
def test_vectors_of_whole_numbers_add_up_to_the_moments(boards, seed):
    """The units are fine enough for 1e-5 of the largest, however many boards there are."""
    numbers = np.random.default_rng(seed)
    parts = [Moments.of(Sums(SIZE).add("cat", rows(numbers, 3)).classes, SIZE) for _ in range(3)]
    most = [max(largest(part)[place] for part in parts) for place in (0, 1)]
    layout = Layout.of(["cat", "owl"], SIZE, boards, *most)
    vectors = [layout.encode(part) for part in parts]
    limit = 2 ** (layout.bits - 1)
    assert all((np.abs(vector) < limit).all() and (vector == np.rint(vector)).all() for vector in vectors)
    assert boards * 2**layout.bits < 2**32
    found, wanted = layout.decode(sum(vectors)), parts[0].plus(parts[1]).plus(parts[2])
    assert found.counts == wanted.counts == {"cat": 9}
    assert np.allclose(found.totals["cat"], wanted.totals["cat"], atol=1e-5 * most[0])
    assert np.allclose(found.second, wanted.second, atol=1e-5 * most[1])


def test_a_number_that_does_not_fit_is_refused():
    moments = Moments.of(Sums(SIZE).add("cat", np.ones((3, SIZE), np.float32)).classes, SIZE)
    with pytest.raises(ValueError, match="more than 29 bits"):
        Layout.of(["cat"], SIZE, 4, 0.5, 0.5).encode(moments)
    with pytest.raises(ValueError, match="no place for class 'cat'"):
        Layout.of(["dog"], SIZE, 4, *largest(moments)).encode(moments)


def test_nothing_is_thrown_away_when_the_pool_begins_again_and_the_sum_fails(three):
    """The server is killed, or boards go away, after the pool was to begin again."""
    devices, link, keeper = three
    play_secure_round(1, link, keeper, 3)
    devices[1].forget("cat")
    lose(devices[1])
    add = link.add
    for failing in (lambda *args: "too few boards answered", killed):
        link.add = failing
        with contextlib.suppress(Killed):
            assert "nothing was added up" in play_secure_round(2, link, keeper, 3).note
        keeper = PoolKeeper(devices[0].folder.parent, NET, None)
        assert keeper.begins_again and keeper.record.images == {"dog": 6}
    link.add = add
    link.fate = lambda what, node: "unheard" if node == 2 else "answered"
    play_secure_round(4, link, keeper, 3)
    for device in devices[:2]:
        assert device.sums.counts == {"dog": 6}
    link.fate = lambda what, node: "answered"
    assert "has begun again" in play_secure_round(5, link, keeper, 3).note
    play_secure_round(6, link, keeper, 3)
    for device in devices:
        assert_pooled(device.sums, expected(devices))


def killed(*_):
    raise Killed


def test_more_erasures_than_a_fleet_has_are_refused(three):
    devices, link, keeper = three
    true = link.announce(2, Packet({"counted": {}, "erased": {}})).document
    link.says[2] = true | {"erasures": {f"{number:032x}": 1 for number in range(60_001)}}
    done = play_secure_round(1, link, keeper, 2)
    assert "60,000 classes are erased" in done.failures[2] and len(done.taken) == 2
    devices[2].board = with_erased(devices[2].board, link.says[2]["erasures"])
    arrivals = sort_out([devices[2].share()], "board0", {}, NETWORK, SIZE, None)
    me = Me("board0", devices[0].sums, {}, 0, devices[0].kept)
    assert "60,000" in sift(arrivals, me).ignored[0].reason


@pytest.mark.parametrize("place", ["tensor", "header"])
def test_a_damaged_kept_file_counts_as_lost(three, place):
    devices, link, keeper = three
    play_secure_round(1, link, keeper, 3)
    path = devices[0].folder / "shared-board0" / "1"
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little")
    content[8 + header + 1 if place == "tensor" else 2] ^= 0xFF
    path.write_bytes(content)
    devices[0].learn("cat", np.full((1, SIZE), 0.5, np.float32))
    assert "board0 lost what it had shared" in play_secure_round(2, link, keeper, 3).note
    for device in devices:
        assert_pooled(device.sums, expected(devices))


def test_the_pool_waits_for_enough_boards_before_it_begins_again(three):
    """Until then nothing that others know is thrown away, but the erased class is."""
    devices, link, keeper = three
    play_secure_round(1, link, keeper, 3)
    devices[1].forget("cat")
    lose(devices[1])
    link.fate = lambda what, node: "unheard" if node == 2 else "answered"
    done = play_secure_round(2, link, keeper, 3)
    assert "once 3 boards are there" in done.note and keeper.begins_again
    for device in devices[:2]:
        assert device.sums.counts == {"dog": 6}
    link.fate = lambda what, node: "answered"
    for number in (3, 4):
        play_secure_round(number, link, keeper, 3)
    assert not keeper.begins_again
    for device in devices:
        assert_pooled(device.sums, expected(devices))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"erasures": []}, "erasures"),
        ({"erasures": {"x": 1}}, "hashes of class names"),
        ({"erasures": {"0" * 32: 2**40}}, "erasures"),
        ({"classes": 5}, "classes"),
        ({"classes": ["a", 1]}, "classes"),
        ({"classes": [f"c{number}" for number in range(5000)]}, "at most 4096"),
        ({"largest": [1]}, "two numbers"),
        ({"largest": [1e30, 1e30]}, "largest"),
        ({"largest": [float("inf"), 1]}, "largest"),
        ({"largest": [9e6, 9e6]}, "times the others"),
        ({"board": "a/../b"}, "board"),
        ({"board": ["a"]}, "board"),
        ({"version": None}, "version"),
    ],
)
def test_a_board_that_says_what_can_not_be_is_named_and_the_others_go_on(three, changed, reason):
    devices, link, keeper = three
    true = link.announce(2, Packet({"counted": {}, "erased": {}})).document
    link.says[2] = true | changed
    done = play_secure_round(1, link, keeper, 2)
    assert reason in done.failures[2] and keeper.record.counted == {"board0": 1, "board1": 1}
    assert devices[0].sums.counts == {"cat": 4, "dog": 4}


@pytest.mark.parametrize(
    "order",
    [
        {"layout": {"size": 10**11}},
        {"layout": {"bits": 64}},
        {"layout": {"total_unit": 0.0}},
        {"before": "/etc/passwd"},
        {"version": "../../x"},
        {"erased": 5},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(three, order):
    devices, link, _ = three
    link.announce(0, Packet({"counted": {}, "erased": {}}))
    layout = {"classes": ["cat", "dog"], "size": SIZE, "bits": 29, "total_unit": 1e-3, "second_unit": 1e-3}
    good = {"layout": layout, "version": 1, "before": 0, "erased": {}}
    assert len(devices[0].kept.vector(good)) == 2 + 2 * SIZE + SIZE * (SIZE + 1) / 2
    with pytest.raises(ValueError, match=r"expected|lacks"):
        devices[0].kept.vector({**good, **order, "layout": layout | order.get("layout", {})})
