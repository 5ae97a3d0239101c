"""A pool in real states: the commands, damage, and erasing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.signature import make_key_pair, read_private_key
from lightcl_edge.files.durable import calls_through
from lightcl_edge.fleet.knowledge import Knowledge, network_hash
from lightcl_edge.fleet.member import Member
from lightcl_edge.state.state import State
from lightcl_edge.state.sums_files import class_hash
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.store import Network, Store
from power_cut import Unsynced
from small_bundle import make_bundle, make_folder

BOARDS = {"one": ["red", "green"], "two": ["blue", "grey"], "three": ["blue", "red"]}
MORE = ("--engine", "ort", "--strategy", "slda")


def said(edge, *arguments, code=0):
    return json.loads(edge(*arguments, "--json", code=code)[0])


@pytest.fixture(scope="module")
def made(edge, tmp_path_factory):
    """Three boards, one that taught what all of them did, and the signed pool of the three."""
    folder = tmp_path_factory.mktemp("boards")
    bundle = make_bundle(folder / "bundle")
    make_key_pair(folder / "fleet")
    with calls_through(Unsynced()):
        for seed, (board, classes) in enumerate(BOARDS.items()):
            data = make_folder(folder / f"d-{board}", classes, seed=seed)
            edge("train", "--bundle", bundle, "--state", folder / board, "--data", data, *MORE)
            edge("train", "--bundle", bundle, "--state", folder / "all", "--data", data, *MORE)
    opened = Bundle.open(bundle)
    network = Network(network_hash(opened), opened.manifest.head.tap_size)
    store = Store(folder / "store", network)
    store.take({at: Member(folder / board, name=board).share({})[1] for at, board in enumerate(BOARDS)})
    keeper = PoolKeeper(folder / "store", network, read_private_key(folder / "fleet.key"))
    keeper.keep_sum_of(store)
    (folder / "pool").write_bytes(keeper.files(["pool"])["pool"])
    return folder


@pytest.fixture
def boards(made, tmp_path):
    """Copies that a test may change."""
    return shutil.copytree(made, tmp_path / "boards")


def assert_equal(state, other):
    """What both know, whatever the order of rows."""
    one, two = State(state).read(), State(other).read()
    names = sorted(one.sums.classes)
    assert one.sums.counts == two.sums.counts
    found, wanted = one.sums.pooled(names), two.sums.pooled(names)
    assert np.allclose(found.means, wanted.means, rtol=1e-12)
    assert np.allclose(found.scatter, wanted.scatter, atol=1e-5 * np.abs(wanted.scatter).max())
    rows, others = ([each.meta.classes.index(name) for name in names] for each in (one, two))
    weights = one.classifier["weights"][rows], two.classifier["weights"][others]
    assert np.allclose(*weights, rtol=1e-3, atol=1e-3 * np.abs(weights[1]).max())


def test_a_pool_equals_learning_all_pictures_here(edge, boards):
    for board in BOARDS:
        document = said(edge, "merge", "--state", boards / board, boards / "pool", "--key", boards / "fleet.pub")
        assert document["merged"][0]["classes"] == ["blue", "green", "grey", "red"]
        assert_equal(boards / board, boards / "all")
    pool = said(edge, "status", "--state", boards / "one")["boards"][0]
    assert pool["board"].startswith("pool-") and pool["images_by_class"] == {"blue": 22, "grey": 11, "red": 11}
    again = said(edge, "merge", "--state", boards / "one", boards / "pool")
    assert "is here already" in again["ignored"][0]["reason"] and again["generation"] == 2
    new = boards / "new"
    edge("merge", "--bundle", boards / "bundle", "--state", new, boards / "pool")
    assert_equal(new, boards / "all")
    assert said(edge, "rollback", "--state", boards / "one")["generation"] == 1
    assert not State(boards / "one").read().sums.pools


def test_learning_on_top_of_a_pool_keeps_it(edge, boards):
    edge("merge", "--state", boards / "one", boards / "pool")
    data = make_folder(boards / "more", ["grey", "green"], seed=9)
    for state in ("one", "all"):
        edge("train", "--state", boards / state, "--data", data, *MORE)
    assert_equal(boards / "one", boards / "all")
    shared = said(edge, "share", "--state", boards / "one", "--out", boards / "k")
    assert sorted(shared["classes"]) == ["green", "grey", "red"]


def test_a_forgotten_class_is_gone_from_pools_and_from_what_was_kept(edge, boards):
    edge("merge", "--state", boards / "one", boards / "pool")
    announced = Member(boards / "one").announce({}, {})
    assert set(announced) == {"board", "version", "classes", "boards", "erasures", "largest"}, "no counts of images"
    assert (boards / "one" / "shared" / "1").is_file()
    edge("forget", "--state", boards / "one", "--class", "red")
    kept, bundle = Knowledge(boards / "one" / "shared" / "1"), Bundle.open(boards / "bundle")
    kept.check(network_hash(bundle), bundle.manifest.head.tap_size, None)
    assert kept.record.images == {"green": 11}, "what else was shared can still be taken out of a pool"
    assert class_hash("red") not in str(kept.kinds()) and b"red" not in kept.path.read_bytes()
    assert State(boards / "one").read().sums.counts == {"green": 11, "blue": 22, "grey": 11}
    again = Member(boards / "one").announce({"one": 1}, {})
    assert again["version"] == 2 and again["largest"] == (0.0, 0.0), "nothing new but the erasure"
    stale = said(edge, "merge", "--state", boards / "one", boards / "pool")
    assert "is here already" in stale["ignored"][0]["reason"]


def test_a_damaged_scatter_is_named_and_can_be_left(edge, boards):
    edge("merge", "--state", boards / "two", boards / "pool")
    state = State(boards / "two")
    (path,) = (state.place(2) / "sums").glob("pool-*")
    path.write_bytes(path.read_bytes()[:-40])
    data = make_folder(boards / "more", ["grey"], seed=9)
    assert str(path.name) in edge("train", "--state", state.folder, "--data", data, *MORE, code=6)[1]
    assert "pool-" in str(said(edge, "history", "--state", state.folder)["generations"])
    gone = said(edge, "forget", "--state", state.folder, "--class", "grey")
    assert set(gone["damaged_classes"]) == {"green", "red"}, "what only the pool had taught"
    assert not State(boards / "two").read().sums.pools
    edge("train", "--state", state.folder, "--data", data, *MORE)
