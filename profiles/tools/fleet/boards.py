"""States of many boards, each with a few pictures of two classes. The trunk runs once for all of them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.data.sums import Sums
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.fleet.candidate import base_of, candidate
from lightcl_edge.inference.head import HeadSession
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.planning.trunk import extraction_batch
from lightcl_edge.state.change import changing
from lightcl_edge.state.exported_classes import base_generation
from lightcl_edge.state.state import State


@dataclass(frozen=True)
class Samples:
    """Taps ``(n, d)`` and names of classes of pictures, as a board with this bundle makes them."""

    taps: FloatArray
    names: Sequence[str]


def taps_of_data(bundle: Bundle, data_source: str, per_class: int) -> Samples:
    """The first pictures of each class of a folder or named source.

    Raises:
        DataError: when a class has fewer.
    """
    data, info = open_dataset(data_source), bundle.manifest.input
    chosen = [row for label in range(len(data.classes)) for row in np.flatnonzero(data.labels == label)[:per_class]]
    if len(chosen) != per_class * len(data.classes):
        raise DataError(f"{data_source} has fewer than {per_class} pictures of a class")
    trunk, head, codec = Trunk(bundle), HeadSession(bundle, None, None), FeatureCodec(bundle.manifest.feature)
    size, found = extraction_batch(bundle.manifest), []
    for at in range(0, len(chosen), size):
        images = np.stack([data.load(int(row), info) for row in chosen[at : at + size]])
        features = codec.decode(codec.encode(trunk.features_of_pixels(images)))
        found.append(head.run(features, logits=False)[0])
    return Samples(np.concatenate(found), [data.classes[data.labels[row]] for row in chosen])


def shares_of(samples: Samples, boards: int, per_class: int) -> list[Mapping[str, FloatArray]]:
    """Two classes a board, and other pictures for each: by class the taps."""
    classes = sorted(set(samples.names))
    rows = {name: iter(np.flatnonzero(np.array(samples.names) == name)) for name in classes}
    shares: list[Mapping[str, FloatArray]] = []
    for board in range(boards):
        first = board % len(classes)
        second = (first + 1 + board // len(classes) % (len(classes) - 1)) % len(classes)
        pair = (classes[first], classes[second])
        shares.append({name: samples.taps[[next(rows[name]) for _ in range(per_class)]] for name in pair})
    return shares


def pictures_needed(boards: int, per_class: int, classes: int) -> int:
    """Pictures of a class that all boards together need, at most."""
    pairs = [
        (board % classes, (board % classes + 1 + board // classes % (classes - 1)) % classes) for board in range(boards)
    ]
    return per_class * max(sum(place in pair for pair in pairs) for place in range(classes))


def make_states(folder: Path, bundle: Bundle, shares: Sequence[Mapping[str, FloatArray]]) -> list[Path]:
    """A state for each board as if it had learned its pictures: made once, then copied with its bundle as links."""
    first = State(folder / "template")
    with changing(first, create=True) as change:
        change.install_bundle(bundle)
    states = []
    for number, share in enumerate(shares):
        path = folder / str(number)
        shutil.copytree(first.folder, path, copy_function=os.link)
        (path / "LOCK").unlink(missing_ok=True)
        (path / "written.json").unlink(missing_ok=True)
        _learn(State(path), share)
        states.append(path)
    return states


def _learn(state: State, share: Mapping[str, FloatArray]) -> None:
    bundle = state.own_bundle()
    with changing(state) as change:
        base = base_of(bundle, base_generation(state.folder, bundle), base_generation(state.folder, bundle), 1)
        sums = Sums(bundle.manifest.head.tap_size)
        for name, taps in share.items():
            sums = sums.add(name, taps)
        found = candidate(base, sums, 1.0).generation
        images = sum(map(len, share.values()))
        meta = replace(found.meta, generation=1, parent=0, created=time.time(), bundle_identity=bundle.identity)
        change.commit(replace(found, meta=replace(meta, images=images)))
        base.close()
