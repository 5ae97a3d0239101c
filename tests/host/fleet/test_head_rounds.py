"""Federated averaging of the head: real states, a server without Flower's network."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.bundle.signature import make_key_pair, read_private_key
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.files.durable import calls_through
from lightcl_edge.fleet.head_file import HeadFile, head_record, write_head
from lightcl_edge.fleet.knowledge import network_hash
from lightcl_edge.fleet.member import Member
from lightcl_edge.state.state import State
from lightcl_host.fleet.head_rounds import HeadRounds
from lightcl_host.fleet.rounds import MERGE, Packet, Round
from lightcl_host.fleet.run import FleetOptions, run_fleet
from lightcl_host.fleet.store import Network
from power_cut import Unsynced
from small_bundle import make_bundle, make_folder

BOARDS = {"one": ["red", "green"], "two": ["blue", "grey"], "three": ["grey", "red"]}


def mean(weighted):
    """Federated averaging by its formula."""
    samples = [each for _, each in weighted]
    lists = zip(*(arrays for arrays, _ in weighted), strict=True)
    return [np.average(arrays, axis=0, weights=samples).astype(np.float32) for arrays in lists]


class Boards:
    """A way to real states, and what they sent."""

    def __init__(self, folder, **options):
        self.members = [Member(folder / board, name=board, **options) for board in BOARDS]
        self.heads = []

    def ask(self, what, packets):
        if what == MERGE:
            return {node: Packet(self.members[node].merge(packet.files)) for node, packet in packets.items()}
        answers = {}
        for node, packet in packets.items():
            document, head = self.members[node].train_head(packet.files)
            answers[node] = Packet(document, {"head": head} if head else {})
        self.heads.append([packet.files.get("head") for packet in answers.values()])
        return answers


@pytest.fixture(scope="module")
def made(edge, tmp_path_factory):
    """Boards that know each other's classes, in orders of their own."""
    folder = tmp_path_factory.mktemp("boards")
    bundle = make_bundle(folder / "bundle")
    make_key_pair(folder / "fleet")
    with calls_through(Unsynced()):
        for seed, (board, classes) in enumerate(BOARDS.items()):
            data = make_folder(folder / f"d-{board}", classes, seed=seed)
            edge("train", "--bundle", bundle, "--state", folder / board, "--data", data, "--engine", "ort")
            edge("share", "--state", folder / board, "--out", folder / f"{board}.knowledge", "--board", board)
        for board in BOARDS:
            edge("merge", "--state", folder / board, *sorted(folder.glob("*.knowledge")))
    return folder


@pytest.fixture
def boards(made, tmp_path):
    """Copies that a test may change."""
    return shutil.copytree(made, tmp_path / "boards")


def server(folder, rounds, key=None, sign=None):
    bundle = Bundle.open(folder / "bundle")
    network = Network(network_hash(bundle), bundle.manifest.head.tap_size, key)
    return HeadRounds(rounds, network, bundle.manifest.head, mean, sign)


def after(folder, link, rounds, **options):
    done = Round(1, boards=dict(enumerate(BOARDS)), merged={node: {} for node in range(len(BOARDS))})
    server(folder, rounds, **options).play(done, link)
    return done


def test_all_boards_get_the_mean_of_their_heads(boards, tmp_path):
    link = Boards(boards)
    done = after(boards, link, 2)
    assert done.heads >= 2 and not done.refused and not done.failures
    files = []
    for number, content in enumerate(link.heads[-1]):
        (tmp_path / str(number)).write_bytes(content)
        files.append(HeadFile(tmp_path / str(number)))
    rows = files[0].record.rows
    assert rows == sorted({name for names in BOARDS.values() for name in names})
    counts = np.array([file.record.samples for file in files], np.float64)
    for board in BOARDS:
        generation = State(boards / board).read()
        if generation.meta.strategy != "replay":
            continue
        assert generation.meta.classes != rows, "an order of its own"
        order = [rows.index(name) for name in generation.meta.classes]
        for name, found in generation.parameters.items():
            wanted = np.average([file[name] for file in files], axis=0, weights=counts)
            if name in (WEIGHT, BIAS):
                wanted = np.concatenate([wanted[order], np.zeros((len(found) - len(order), *wanted.shape[1:]))])
            assert np.allclose(found, wanted, atol=1e-6), name


def test_the_second_round_begins_with_the_mean(boards):
    """A board's head after two rounds is not that of one round: its steps began elsewhere."""
    link = Boards(boards)
    after(boards, link, 2)
    assert len(link.heads) == 2 and link.heads[0] != link.heads[1]


def test_a_board_with_other_classes_is_left_out(edge, boards):
    """Whoever comes first."""
    data = make_folder(boards / "more", ["green", "red"], seed=9)
    shutil.rmtree(boards / "one")
    edge("train", "--bundle", boards / "bundle", "--state", boards / "one", "--data", data, "--engine", "ort")
    done = after(boards, Boards(boards), 1)
    assert [each.node for each in done.refused] == [0] and "most have" in done.refused[0].reason and done.heads


def test_a_signed_average(boards):
    options = {"key": boards / "fleet.pub", "sign": boards / "fleet.key"}
    from lightcl_edge.bundle.signature import read_public_key

    key, sign = read_public_key(boards / "fleet.pub"), read_private_key(boards / "fleet.key")
    assert after(boards, Boards(boards, **options), 1, key=key, sign=sign).heads >= 2
    unsigned = after(boards, Boards(boards), 1, key=key, sign=sign)
    assert {each.kind for each in unsigned.refused} == {"SignatureError"} and "not averaged" in unsigned.note


def lie(folder, path, **changed):
    bundle = Bundle.open(folder / "bundle")
    info, state = bundle.manifest.head, State(folder / "one").read()
    parameters = {name: np.array(each) for name, each in state.parameters.items()}
    about = head_record("one", changed.get("network", network_hash(bundle)), info.tap_size, 5, {})
    if changed.get("nan"):
        parameters[WEIGHT][0, 0] = np.nan
    write_head(path, about, parameters, changed.get("rows", state.meta.classes), None)
    return path


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"nan": True}, "NaN"),
        ({"network": "1" * 64}, "another network"),
        ({"rows": ["red", "green"]}, "merge first"),
    ],
)
def test_heads_that_do_not_fit_are_refused(edge, boards, tmp_path, changed, reason):
    path = lie(boards, tmp_path / "lie", **changed)
    code = 3 if "network" in changed else 4
    assert reason in edge("merge", "--state", boards / "two", path, code=code)[1]
    assert State(boards / "two").current_number() == 2
    if "rows" not in changed:
        with pytest.raises(Exception, match=reason):
            bundle = Bundle.open(boards / "bundle")
            HeadFile(path).check(network_hash(bundle), bundle.manifest.head.tap_size, None, bundle.manifest.head)


def test_a_head_from_before_an_erasure_is_refused(edge, boards, tmp_path):
    path = lie(boards, tmp_path / "old")
    edge("forget", "--state", boards / "two", "--class", "grey")
    more = make_folder(tmp_path / "more", ["grey"], seed=5)
    edge("train", "--state", boards / "two", "--data", more, "--engine", "ort")
    assert "before 'grey' was erased" in edge("merge", "--state", boards / "two", path, code=4)[1]


def test_a_state_that_learns_otherwise_keeps_its_way(edge, boards, tmp_path):
    data = make_folder(tmp_path / "more", ["grey"], seed=5)
    edge("train", "--state", boards / "two", "--data", data, "--engine", "ort", "--strategy", "ncm")
    said = json.loads(edge("merge", "--state", boards / "two", lie(boards, tmp_path / "head"), "--json")[0])
    assert not said["head"] and said["strategy"] == "ncm"


def test_a_board_weighs_no_more_than_ten_usual_ones(boards):
    link, weights = Boards(boards), []
    honest, bundle = link.members[0], Bundle.open(boards / "bundle")
    info = bundle.manifest.head

    def boast(files):
        document, content = honest.train_head(files)
        (boards / "boast").write_bytes(content)
        file = HeadFile(boards / "boast")
        about = head_record("one", file.record.network, info.tap_size, 10**9, {})
        write_head(boards / "boast", about, file.parameters(), file.record.rows, None)
        return document, (boards / "boast").read_bytes()

    def watched(weighted):
        weights.extend(samples for _, samples in weighted)
        return mean(weighted)

    link.members[0] = SimpleNamespace(train_head=boast, merge=honest.merge)
    done = Round(1, boards=dict(enumerate(BOARDS)), merged={node: {} for node in range(len(BOARDS))})
    HeadRounds(1, Network(network_hash(bundle), info.tap_size), info, watched, None).play(done, link)
    assert weights[0] == 10 * max(weights[1:])


def test_a_head_beside_knowledge_is_named(edge, boards, tmp_path):
    path = lie(boards, tmp_path / "head")
    said = json.loads(edge("merge", "--state", boards / "two", path, boards / "one.knowledge", "--json")[0])
    assert any("is a head; merge it alone" in each["reason"] for each in said["ignored"])


@pytest.mark.parametrize("words", [("--begin", "x"), ("--train-head", "--keep", "0")])
def test_options_that_do_not_go_together(edge, boards, tmp_path, words):
    assert "--train-head" in edge("share", "--state", boards / "one", "--out", tmp_path / "o", *words, code=2)[1]


def test_a_state_without_samples_can_not_train(edge, boards, tmp_path):
    new = tmp_path / "new"
    edge("merge", "--bundle", boards / "bundle", "--state", new, boards / "one.knowledge")
    assert "remembers no samples" in edge("share", "--state", new, "--train-head", "--out", tmp_path / "h", code=6)[1]


def test_heads_and_secure_sums_do_not_go_together(boards):
    options = FleetOptions(boards / "bundle", boards / "store", send="secure", head_rounds=1)
    with pytest.raises(UsageError, match="one by one"):
        run_fleet(options, None, print)
    with pytest.raises(DataError, match="no knowledge file"):
        (boards / "x").write_bytes((boards / "one" / "bundle" / "head.safetensors").read_bytes())
        HeadFile(boards / "x")
