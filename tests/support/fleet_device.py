"""A board without a state: what it keeps of itself and of its sums."""

from __future__ import annotations

import numpy as np

from lightcl_edge.data.class_sums import ClassSums
from lightcl_edge.data.sums import Sums
from lightcl_edge.fleet.arrivals import sort_out
from lightcl_edge.fleet.kept import Kept
from lightcl_edge.fleet.recorded_file import write_recorded
from lightcl_edge.fleet.share import shared
from lightcl_edge.fleet.sifting import Me, joined, sift
from lightcl_edge.state.board import Board, with_erased
from lightcl_edge.state.sums_files import class_hash

SIZE, NETWORK = 4, "0" * 64


class Device:
    """What a state keeps of a board and of its sums, without the state."""

    def __init__(self, name, folder):
        self.board, self.sums, self.folder = Board(name), Sums(SIZE), folder
        self.taught = []  # class, how often it was erased before, samples

    def erasures(self, name):
        return self.board.erased.get(class_hash(name), 0)

    def learn(self, name, rows):
        self.sums = self.sums.add(name, rows)
        self.taught.append((name, self.erasures(name), rows))

    def share(self):
        self.board, record, tensors = shared(self.board, self.sums, NETWORK)
        path = self.folder / f"{self.board.name}-{record.version}"
        write_recorded(path, record, tensors, None)
        return path

    @property
    def kept(self):
        return Kept(self.folder / f"shared-{self.board.name}")

    def merge(self, paths):
        arrivals = sort_out(paths, self.board.name, self.sums.boards, NETWORK, SIZE, None)
        unchanged = shared(self.board, self.sums, NETWORK)[0].version == self.board.version
        version = self.board.version if unchanged else 0
        sifted = sift(arrivals, Me(self.board.name, self.sums, self.board.erased, version, self.kept))
        assert not [each for each in sifted.ignored if each.refused]
        before, self.board = self.board, with_erased(self.board, sifted.erased)
        for name in list(self.sums.classes):
            if self.erasures(name) > before.erased.get(class_hash(name), 0):
                self.sums = self.sums.forget(name)
        self.sums = joined(self.sums, sifted, self.board.erased)
        return sifted

    def forget(self, name):
        if name in self.sums.classes:
            self.sums = self.sums.forget(name)
            self.board = with_erased(self.board, {class_hash(name): self.erasures(name) + 1})


def devices_in(folder, count):
    """Devices with a folder each."""
    for number in range(count):
        (folder / str(number)).mkdir()
    return [Device(f"board{number}", folder / str(number)) for number in range(count)]


def rows(numbers, count):
    """Random samples."""
    return (numbers.normal(size=(count, SIZE)) / 8).clip(-1, 1).astype(np.float32)


def expected(devices):
    """All samples by class that were taught since the last erasure of it."""
    found: dict[str, list] = {}
    for device in devices:
        for name, erased_before, rows in device.taught:
            if erased_before == max(each.erasures(name) for each in devices):
                found.setdefault(name, []).append(rows)
    return found


def assert_same(found, rows_by_class):
    assert set(found.classes) == set(rows_by_class)
    for name, rows in rows_by_class.items():
        sums, pooled = found.classes[name].read(), ClassSums.of(np.concatenate(rows))
        assert sums.count == pooled.count == found.counts[name]
        assert (sums.total == pooled.total).all(), "totals are exact"
        assert np.abs(sums.scatter() - pooled.scatter()).max() <= 1e-5 * max(np.trace(pooled.scatter()), 1e-9)


def assert_pooled(sums, rows_by_class):
    """As :func:`assert_same` where sums are known together only."""
    rows_by_class = {name: np.concatenate(rows) for name, rows in rows_by_class.items()}
    assert sums.counts == {name: len(rows) for name, rows in rows_by_class.items()}
    names = sorted(rows_by_class)
    expected_sums = Sums(SIZE)
    for name in names:
        expected_sums = expected_sums.add(name, rows_by_class[name])
    found, wanted = sums.pooled(names), expected_sums.pooled(names)
    assert np.allclose(found.means, wanted.means, rtol=0, atol=1e-9)
    assert np.abs(found.scatter - wanted.scatter).max(initial=0) <= 1e-5 * max(np.trace(wanted.scatter), 0.1)
