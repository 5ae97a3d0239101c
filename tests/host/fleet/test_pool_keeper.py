"""Pools: boards that learn, erase, and get the sum of all in any order end with the sums of pooled learning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_device import NETWORK, SIZE, Device, assert_pooled, expected
from lightcl_edge.errors import DataError
from lightcl_edge.files.durable import calls_through
from lightcl_edge.files.tensors import TensorFile
from lightcl_edge.fleet.pool import PoolFile
from lightcl_edge.fleet.recorded_file import write_recorded
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.store import Network, Store
from power_cut import Unsynced

CLASSES = ("cat", "dog", "owl")
ACTIONS = st.one_of(
    st.tuples(st.just("learn"), st.integers(0, 2), st.sampled_from(CLASSES), st.integers(1, 6)),
    st.tuples(st.just("share"), st.integers(0, 2)),
    st.tuples(st.just("pool"), st.integers(0, 2)),
    st.tuples(st.just("merge"), st.integers(0, 2), st.randoms(use_true_random=False)),
    st.tuples(st.just("forget"), st.integers(0, 2), st.sampled_from(CLASSES)),
)


class Shop:
    """Boards, the server, and all files that were ever shared."""

    def __init__(self, folder):
        network = Network(NETWORK, SIZE)
        self.store, self.folder, self.number = Store(folder / "store", network), folder, 0
        self.keeper = PoolKeeper(folder / "store", network, None)
        self.devices, self.files = [Device(f"board{number}", folder) for number in range(3)], []

    def share(self, device):
        path = device.share()
        self.files.append(path)
        self.store.take({0: path.read_bytes()})

    def pool(self):
        self.keeper.keep_sum_of(self.store)
        self.number += 1
        path = self.folder / f"pool-{self.number}"
        path.write_bytes(self.keeper.files(["pool"])["pool"])
        self.files.append(path)
        return path


@settings(max_examples=100)
@given(st.lists(ACTIONS, max_size=25))
def test_any_order_and_repetition_gives_pooled_learning(tmp_path_factory, actions):
    shop, numbers = Shop(tmp_path_factory.mktemp("files")), np.random.default_rng(0)
    with calls_through(Unsynced()):
        for what, at, *more in actions:
            device = shop.devices[at]
            if what == "learn":
                device.learn(more[0], (numbers.normal(size=(more[1], SIZE)) / 8).clip(-1, 1).astype(np.float32))
            elif what == "share":
                shop.share(device)
            elif what == "forget":
                device.forget(more[0])
            elif what == "pool":
                device.merge([shop.pool()])
            elif shop.files:
                device.merge(more[0].choices(shop.files, k=3))
        for _ in range(2):  # the second for what erasures left of each
            for device in shop.devices:
                shop.share(device)
            pool = shop.pool()
            for device in shop.devices:
                device.merge([pool, *shop.files[-5:]])
    for device in shop.devices:
        assert_pooled(device.sums, expected(shop.devices))
        assert set(device.sums.pools) == {shop.keeper.record.board}


def test_a_pool_that_counts_an_older_version_needs_that(tmp_path):
    shop, rows = Shop(tmp_path), np.full((2, SIZE), 0.5, np.float32)
    first, second = shop.devices[:2]
    for device in (first, second):
        device.learn("cat", rows)
        shop.share(device)
    pool = shop.pool()
    first.learn("cat", rows)
    assert "counts version 1 of this board, which is not at hand" in first.merge([pool]).ignored[0].reason
    assert first.sums.counts == {"cat": 4}
    first.kept.keep(1, shop.files[0], 0)
    first.merge([pool, shop.files[0]])
    assert first.sums.counts == {"cat": 6}
    again = first.merge([shop.files[1]])
    assert "counts this board already" in again.ignored[0].reason and first.sums.counts == {"cat": 6}


def test_two_pools_that_count_one_board_are_not_both_taken(tmp_path):
    (tmp_path / "x").mkdir()
    one, two, third = Shop(tmp_path), Shop(tmp_path / "x"), Device("c", tmp_path)
    for shop, more in ((one, 1), (two, 2)):
        for device in (shop.devices[0], shop.devices[more]):
            device.learn("cat", np.full((2, SIZE), 0.5, np.float32))
            shop.share(device)
    arrivals = third.merge([one.pool(), two.pool()])
    assert third.sums.counts == {"cat": 4} and len(arrivals.taken) == 1
    assert "which is here already" in arrivals.ignored[0].reason


def test_a_pool_that_is_passed_over_opens_no_way_for_the_boards_that_are_counted(tmp_path):
    shop, rows = Shop(tmp_path), np.full((2, SIZE), 0.5, np.float32)
    _, second, third = shop.devices
    for device in shop.devices:
        device.learn("cat", rows)
        shop.share(device)
    third.merge([shop.pool()])
    for device in (second, third):
        device.learn("cat", rows)
        shop.share(device)
    third.learn("cat", rows)
    sifted = third.merge([shop.pool(), *shop.files])
    assert "not at hand" in str([each.reason for each in sifted.ignored])
    assert third.sums.counts == {"cat": 10}, "two of the first, two of the second as before, six of its own"


def test_a_server_that_lost_its_pool_gets_it_back(tmp_path):
    shop, rows = Shop(tmp_path), np.full((2, SIZE), 0.5, np.float32)
    for device in shop.devices:
        device.learn("cat", rows)
        shop.share(device)
    shop.devices[0].merge([shop.pool()])
    (tmp_path / "store" / "pool.knowledge").unlink()
    shop.keeper = PoolKeeper(tmp_path / "store", Network(NETWORK, SIZE), None)
    shop.devices[0].merge([shop.pool()])
    assert set(shop.devices[0].sums.pools) == {shop.keeper.record.board} and shop.devices[0].sums.counts == {"cat": 6}


def test_an_erasure_is_heard_from_a_file_of_a_board_that_a_pool_counts(tmp_path):
    shop, rows = Shop(tmp_path), np.full((2, SIZE), 0.5, np.float32)
    first, second = shop.devices[:2]
    for device in (first, second):
        device.learn("cat", rows)
        device.learn("dog", rows)
        shop.share(device)
    second.merge([shop.pool()])
    first.forget("cat")
    second.merge([first.share()])
    assert second.sums.counts == {"dog": 4} and second.erasures("cat") == 1


def test_no_board_may_send_a_pool(tmp_path):
    shop = Shop(tmp_path)
    shop.devices[0].learn("cat", np.full((2, SIZE), 0.5, np.float32))
    shop.share(shop.devices[0])
    pool = shop.pool()
    taken, refused = shop.store.take({7: pool.read_bytes()})
    assert not taken and refused[0].kind == "DataError" and refused[0].node == 7
    assert list(Store(tmp_path / "store", Network(NETWORK, SIZE)).records) == ["board0"]


def test_a_board_that_fits_in_no_pool_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr("lightcl_host.fleet.pool_keeper.MAX_CLASSES", 2)
    shop, rows = Shop(tmp_path), np.full((2, SIZE), 0.5, np.float32)
    for device, classes in zip(shop.devices, ("ab", "cde", "a"), strict=True):
        for name in classes:
            device.learn(name, rows)
        shop.share(device)
    assert list(shop.keeper.keep_sum_of(shop.store)) == ["board1"]
    assert shop.keeper.record.images == {"a": 4, "b": 2}


def test_a_forgotten_class_takes_its_share_of_the_scatter_along(tmp_path):
    shop = Shop(tmp_path)
    first, second = shop.devices[:2]
    second.learn("cat", np.eye(SIZE, dtype=np.float32))
    second.learn("dog", np.eye(SIZE, dtype=np.float32))
    shop.share(second)
    first.merge([shop.pool()])
    whole = first.sums.pooled(["cat", "dog"]).scatter
    assert np.allclose(first.sums.forget("cat").pooled(["dog"]).scatter, whole / 2)
    assert not first.sums.forget("cat").forget("dog").pools


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors["totals"].fill(np.nan), "larger than"),
        (lambda tensors: tensors["totals"].fill(9), "larger than"),
        (lambda tensors: tensors["triangle"].fill(np.inf), "larger than"),
        (lambda tensors: tensors["triangle"].fill(-0.1), "negative variance"),
        (lambda tensors: tensors.pop("totals"), "its tensors are"),
        (lambda tensors: tensors.update(totals=tensors["totals"][:, 1:]), "expected float64"),
    ],
)
def test_impossible_pools_are_refused(tmp_path, change, reason):
    from lightcl_edge.fleet.recorded_file import hash_of

    shop = Shop(tmp_path)
    shop.devices[0].learn("cat", np.full((2, SIZE), 0.5, np.float32))
    shop.share(shop.devices[0])
    file, record = TensorFile(shop.pool(), DataError), shop.keeper.record
    tensors = {name: np.array(file[name]) for name in record.tensors}
    change(tensors)
    hashes = {name: hash_of(each) for name, each in tensors.items()}
    lie = tmp_path / "lie"
    write_recorded(lie, type(record)(**{**vars(record), "tensors": hashes}), tensors, None)
    with pytest.raises(DataError, match=reason):
        PoolFile(lie).check(NETWORK, SIZE, None)
