"""One pass of a task's images through the trunk, into the on-disk feature store."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.data.features import FeatureCodec, FeatureStore, FeatureStoreWriter
from lightcl_edge.errors import DataError
from lightcl_edge.inference.providers import ProviderChoice
from lightcl_edge.machine.cooling import Cooler
from lightcl_edge.planning.trunk import extraction_batch


@dataclass(frozen=True)
class Extracted:
    """A task's features.

    Attributes:
        store: features, and labels that index the data set's classes.
        skipped: unreadable images: what was wrong with each.
        provider: what computed the trunk, and why; None where the features were there already.
    """

    store: FeatureStore
    skipped: list[str]
    provider: ProviderChoice | None = None


def dataset_fingerprint(dataset: Dataset) -> str:
    """A hash of what the data set would give: names and contents of files, or pixels."""
    digest = hashlib.sha256(json.dumps(dataset.classes).encode())
    digest.update(np.ascontiguousarray(dataset.labels, "<i8").tobytes())
    for index in range(len(dataset)):
        digest.update(dataset.version(index))
    return digest.hexdigest()


def mark_of(dataset: Dataset, index: int) -> int:
    """A number of 64 bits that an image always has, in whatever set and under whatever name it comes again."""
    return int.from_bytes(hashlib.sha256(dataset.content(index)).digest()[:8], "little")


def extract(
    bundle: Bundle,
    dataset: Dataset,
    folder: Path,
    threads: int | None,
    progress: Progress,
    cooler: Cooler | None = None,
    provider: str | None = None,
    fingerprint: str | None = None,
) -> Extracted:
    """Features of all readable images, quantised; a complete store of the same images is used again.

    Args:
        bundle: its trunk and feature scale.
        dataset: the images.
        folder: where the store is kept.
        threads: processors to use.
        progress: shows how far it is.
        cooler: pauses between batches; None for never.
        provider: ``tensorrt``, ``cuda`` or ``cpu``; None for what the bundle wants.
        fingerprint: of the data set, where it is known; None to compute it.

    Returns:
        The store and what was left out.

    Raises:
        DataError: when a class has no readable image.
    """
    codec = FeatureCodec(bundle.manifest.feature)
    key = f"{bundle.sha256(TRUNK)}:{fingerprint or dataset_fingerprint(dataset)}"
    found = FeatureStore.open(folder, codec.shape, key)
    if found is not None and found.labels.min() >= 0 and found.labels.max() < len(dataset.classes):
        return Extracted(found, found.skipped)
    from lightcl_edge.inference.trunk import Trunk

    trunk = Trunk(bundle, threads, provider)
    writer = FeatureStoreWriter(folder, codec.shape, key)
    skipped: list[str] = []
    try:
        size, count = extraction_batch(bundle.manifest), len(dataset)
        batches = [range(at, min(at + size, count)) for at in range(0, count, size)]
        for rows in progress.track(batches, "images to features"):
            if cooler is not None:
                cooler.between_steps()
            images, kept = _load(dataset, rows, bundle, skipped)
            if images:
                features = trunk.features_of_pixels(np.stack(images))
                labels, marks = dataset.labels[kept].tolist(), [mark_of(dataset, row) for row in kept]
                writer.append(codec.encode(features), labels, marks)
        _check_classes(dataset, writer.labels, skipped)
        return Extracted(writer.finish(skipped), skipped, trunk.provider)
    except BaseException:
        writer.abandon()
        raise


def _load(dataset: Dataset, rows: range, bundle: Bundle, skipped: list[str]) -> tuple[list[ByteImage], list[int]]:
    """The readable ones of a few images, and which they are; the others' faults are noted."""
    images: list[ByteImage] = []
    kept: list[int] = []
    for row in rows:
        try:
            images.append(dataset.load(row, bundle.manifest.input))
            kept.append(row)
        except DataError as error:
            skipped.append(str(error))
    return images, kept


def _check_classes(dataset: Dataset, labels: list[int], skipped: list[str]) -> None:
    for row, name in enumerate(dataset.classes):
        if row not in labels:
            first = f"; the first fault: {skipped[0]}" if skipped else ""
            raise DataError(f"class {name!r} has no readable image, expected at least one{first}")
