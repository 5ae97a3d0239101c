"""One pass of a task's images through the trunk, into the feature store on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.dataset import Dataset, DatasetIdentity
from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.data.feature_store import FeaturesInMemory, FeatureStore, FeatureStoreWriter
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import DataError
from lightcl_edge.inference.providers import ProviderChoice
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.machine.cooling import Cooler
from lightcl_edge.planning.trunk import extraction_batch


@dataclass(frozen=True)
class Extracted:
    """A task's features."""

    store: FeatureStore | FeaturesInMemory
    skipped: list[str]
    provider: ProviderChoice | None = None  # None when an earlier run has left the features


def extract(
    bundle: Bundle,
    open_trunk: Callable[[], Trunk],
    dataset: Dataset,
    identity: DatasetIdentity,
    folder: Path,
    progress: Progress,
    cooler: Cooler | None = None,
) -> Extracted:
    """Quantised features of all readable images. A complete store of the same images is used again.

    Those of a single batch are not stored: after an interruption they are computed again.

    Raises DataError when no image can be read.
    """
    size, key = extraction_batch(bundle.manifest), f"{bundle.sha256(TRUNK)}:{identity.fingerprint}"
    codec, count = FeatureCodec(bundle.manifest.feature), len(dataset)
    found = FeatureStore.open(folder, codec.shape, key)
    if found is not None and found.labels.min() >= 0 and found.labels.max() < len(dataset.classes):
        return Extracted(found, found.skipped)
    trunk = open_trunk()
    if count <= size:
        return _one_batch(bundle, trunk, codec, dataset, identity)
    writer = FeatureStoreWriter(folder, codec.shape, key)
    skipped: list[str] = []
    try:
        batches = [range(at, min(at + size, count)) for at in range(0, count, size)]
        for rows in progress.track(batches, "images to features"):
            if cooler is not None:
                cooler.between_steps()
            images, readable = _load(dataset, rows, bundle, skipped)
            if images:
                features = trunk.features_of_pixels(np.stack(images))
                marks = [identity.marks[row] for row in readable]
                writer.append(codec.encode(features), dataset.labels[readable].tolist(), marks)
        if not writer.labels:
            raise _unreadable(skipped)
        return Extracted(writer.finish(skipped), skipped, trunk.provider)
    except BaseException:
        writer.abandon()
        raise


def _one_batch(
    bundle: Bundle, trunk: Trunk, codec: FeatureCodec, dataset: Dataset, identity: DatasetIdentity
) -> Extracted:
    skipped: list[str] = []
    images, readable = _load(dataset, range(len(dataset)), bundle, skipped)
    if not images:
        raise _unreadable(skipped)
    features = codec.encode(trunk.features_of_pixels(np.stack(images)))
    marks = np.array([identity.marks[row] for row in readable], np.uint64)
    return Extracted(FeaturesInMemory(features, dataset.labels[readable], marks), skipped, trunk.provider)


def _unreadable(faults: Sequence[str]) -> DataError:
    return DataError(f"none of the {len(faults)} images can be read; the first fault: {faults[0]}")


def _load(dataset: Dataset, rows: range, bundle: Bundle, skipped: list[str]) -> tuple[list[ByteImage], list[int]]:
    """The readable images and their rows; the faults of the others go to ``skipped``."""
    images: list[ByteImage] = []
    readable: list[int] = []
    for row in rows:
        try:
            images.append(dataset.load(row, bundle.manifest.input))
            readable.append(row)
        except DataError as error:
            skipped.append(str(error))
    return images, readable
