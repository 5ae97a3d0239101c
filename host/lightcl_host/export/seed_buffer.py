"""A feature buffer of base classes for a bundle: the device starts with their features, without their images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import BIAS, FEATURES, IMAGE, PENULTIMATE, WEIGHT
from lightcl_edge.bundle.manifest import FeatureInfo, InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.class_names import check_class_names
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer, buffer_limit, quotas
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.data.sums import Pooled
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import DataError, UsageError
from lightcl_edge.files.tensors import DoubleArray, IntArray
from lightcl_edge.inference.trunk import normalise
from lightcl_edge.learning.closed_form.analysis import analysis_rows
from lightcl_edge.learning.closed_form.temperature import starting_temperature
from lightcl_host.graphs.graph import to_array, to_tensor
from lightcl_host.graphs.runner import GraphRunner

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.split import Split
    from lightcl_host.export.options import ExportOptions

_BATCH = 16


@dataclass(frozen=True)
class SeedBuffer:
    """Base classes of a bundle."""

    classes: list[str]  # names of the classifier's first rows
    buffer: FeatureBuffer  # features of these classes


def seed_buffer(
    options: ExportOptions,
    info: InputInfo,
    trunk: onnx.ModelProto,
    trunk_bytes: bytes,
    split: Split,
    feature: FeatureInfo,
    classes: list[str],
    progress: Progress,
) -> SeedBuffer:
    """Run the exported trunk over as many images as the buffer holds, equally many of each class.

    Where the bundle knows no classes yet, those of the data become its first rows, in closed form (linear discriminant
    analysis). So the device recognises them before it has learned anything. Classes of ``--keep-classes`` keep their
    rows.

    Args:
        split: the classifier of its head is changed where the bundle knows no classes.
        feature: the uint8 form.

    Raises:
        DataError: when a class has no image that could be read and kept.
        UsageError: when the data have classes that a network with its own classes lacks, or too many.
    """
    dataset = open_dataset(str(options.seed_buffer))
    check_class_names(dataset.classes)
    names = classes or dataset.classes
    unknown = sorted(set(dataset.classes) - set(names))
    if unknown or len(names) > split.head_info.capacity:
        raise UsageError(
            f"--seed-buffer has classes {unknown or len(names)}, expected at most {split.head_info.capacity} classes, "
            "and with --keep-classes only the network's own; use --max-classes N for more"
        )
    codec = FeatureCodec(feature)
    identity = BufferIdentity(hashlib.sha256(trunk_bytes).hexdigest(), feature)
    limit = buffer_limit(options.seed_buffer_size, identity)
    labels = np.array([names.index(name) for name in dataset.classes])[dataset.labels]
    rows = _drawn(labels, len(names), limit, options.seed)
    stored, rows = _features(dataset, rows, info, GraphRunner(trunk), codec, progress)
    missing = sorted(set(dataset.classes) - {names[row] for row in labels[rows]})
    if missing:
        raise DataError(f"--seed-buffer: class {missing[0]!r} has no image that could be read and kept")
    rng = np.random.default_rng([options.seed, 1])
    places = np.arange(len(rows))
    buffer = fill(FeatureBuffer.empty(identity), stored.__getitem__, places, labels[rows], limit, rng)
    seen = np.bincount(labels, minlength=len(names))
    buffer = FeatureBuffer(identity, buffer.features, buffer.labels, _ranks(buffer, seen), seen)
    if not classes:
        _write_rows(split, buffer)
    return SeedBuffer(list(names), buffer)


def _drawn(labels: IntArray, classes: int, limit: int, seed: int) -> IntArray:
    """Images chosen at random, equally many of each class as far as there are enough."""
    granted = quotas(np.bincount(labels, minlength=classes), limit)
    shuffled = np.random.default_rng([seed, 0]).permutation(len(labels))
    kept = [shuffled[labels[shuffled] == row][: granted[row]] for row in range(classes)]
    return np.sort(np.concatenate(kept))


def _ranks(buffer: FeatureBuffer, seen: IntArray) -> NDArray[np.float64]:
    """Ranks as if all images had been offered: the smallest of as many random numbers."""
    held = np.bincount(buffer.labels, minlength=len(seen))
    share = held / np.maximum(1, seen)
    return np.asarray(buffer.ranks * share[buffer.labels])


def _features(
    dataset: Dataset, rows: IntArray, info: InputInfo, trunk: GraphRunner, codec: FeatureCodec, progress: Progress
) -> tuple[NDArray[np.uint8], IntArray]:
    """The uint8 features of the chosen images, and the rows of those that could be read."""
    parts, read = [], []
    progress.stage(f"seeding the buffer: features of {len(rows)} images")
    for at in progress.track(range(0, len(rows), _BATCH), "seeding the buffer"):
        pixels = []
        for row in rows[at : at + _BATCH]:
            try:
                pixels.append(dataset.load(int(row), info))
            except DataError as error:
                progress.note(f"left out: {error}")
                continue
            read.append(row)
        if pixels:
            parts.append(codec.encode(trunk({IMAGE: normalise(np.stack(pixels), info)}, [FEATURES])[FEATURES]))
    empty = np.empty((0, *codec.shape), np.uint8)
    return np.concatenate([empty, *parts]), np.array(read, np.int64)


def _write_rows(split: Split, buffer: FeatureBuffer) -> None:
    """Write the classifier's first rows, from the feature buffer alone."""
    classes, head = len(buffer.seen), GraphRunner(split.head)
    rows = [np.arange(at, min(at + _BATCH, len(buffer))) for at in range(0, len(buffer), _BATCH)]
    values = np.concatenate([head({FEATURES: buffer.read(part)}, [PENULTIMATE])[PENULTIMATE] for part in rows])
    pooled = _pooled(values.astype(np.float64), buffer.labels, classes)
    found = analysis_rows(pooled)
    temperature = starting_temperature(pooled.means, found.weights)
    weights, biases = found.weights / temperature, found.biases / temperature
    for tensor in split.head.graph.initializer:
        if tensor.name in (WEIGHT, BIAS):
            changed = to_array(tensor).astype(np.float32)
            changed[:classes] = weights if tensor.name == WEIGHT else biases
            tensor.CopyFrom(to_tensor(changed, tensor.name))


def _pooled(values: DoubleArray, labels: IntArray, classes: int) -> Pooled:
    counts = np.bincount(labels, minlength=classes)
    means = np.stack([values[labels == row].mean(axis=0) for row in range(classes)])
    centred = values - means[labels]
    return Pooled(counts, means, centred.T @ centred)
