"""Features of the benchmark's images: extracted once for each trunk, kept on disk, shared by all methods and seeds."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.tensors import IntArray
from lightcl_edge.planning.trunk import extraction_batch
from lightcl_host.benchmark.contract import Part

#: After so many images it is written down which are done. An interrupted extraction goes on from there.
_SAVED_EVERY = 512


class FeatureCache:
    """Features by image, extracted when they are first asked for.

    Features of another trunk or of other images in the folder are dropped. Data sets are ``train`` and ``test``.
    """

    def __init__(
        self, folder: Path, bundle: Bundle, datasets: dict[str, Dataset], threads: int | None, progress: Progress
    ) -> None:
        self._folder, self._bundle, self._datasets = folder, bundle, datasets
        self._threads, self._progress = threads, progress
        self._codec = FeatureCodec(bundle.manifest.feature)
        self._maps: dict[str, np.memmap[tuple[int, ...], np.dtype[np.uint8]]] = {}
        self._done: dict[str, NDArray[np.bool_]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def extract(self, part: Part) -> None:
        """Extract the features that a part's images still lack."""
        _, done = self._open(part.store)
        missing = part.positions[~done[part.positions]]
        if len(missing):
            self._extract(part.store, missing)

    def of(self, part: Part) -> NDArray[np.uint8]:
        """uint8 features of a part's images, shape ``(n, *feature_shape)``; missing ones are extracted."""
        self.extract(part)
        features, _ = self._open(part.store)
        return np.asarray(features[part.positions])

    def _open(self, store: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        if store not in self._maps:
            count = len(self._datasets[store])
            path, note = self._folder / f"{store}.u8", self._folder / f"{store}.json"
            key = self._key(store)
            known = note.is_file() and path.is_file() and json.loads(note.read_text()).get("key") == key
            if not known:
                (self._folder / f"{store}.done").unlink(missing_ok=True)
                note.write_text(json.dumps({"key": key, "count": count, "shape": list(self._codec.shape)}))
            shape = (count, *self._codec.shape)
            self._maps[store] = np.memmap(path, np.uint8, "r+" if known else "w+", shape=shape)
            done_path = self._folder / f"{store}.done"
            done = np.fromfile(done_path, np.bool_) if done_path.is_file() else np.zeros(count, np.bool_)
            self._done[store] = done
        return self._maps[store], self._done[store]

    def _key(self, store: str) -> str:
        """Equal for the same trunk, the same images and the same scale of storing."""
        dataset = self._datasets[store]
        feature = asdict(self._bundle.manifest.feature)
        digest = hashlib.sha256(f"{self._bundle.sha256(TRUNK)} {feature} {len(dataset)} {dataset.classes}".encode())
        digest.update(np.ascontiguousarray(dataset.labels, "<i8").tobytes())
        for index in range(0, len(dataset), max(1, len(dataset) // 1000)):
            digest.update(dataset.content(index))
        return digest.hexdigest()

    def _extract(self, store: str, missing: IntArray) -> None:
        from lightcl_edge.inference.trunk import Trunk

        trunk, dataset = Trunk(self._bundle, self._threads), self._datasets[store]
        info, size, since = self._bundle.manifest.input, extraction_batch(self._bundle.manifest), 0
        batches = [missing[at : at + size] for at in range(0, len(missing), size)]
        for rows in self._progress.track(batches, f"{store} images to features"):
            pixels = np.stack([dataset.load(int(row), info) for row in rows])
            self._maps[store][rows] = self._codec.encode(trunk.features_of_pixels(pixels))
            self._done[store][rows] = True
            since += len(rows)
            if since >= _SAVED_EVERY:
                self._save(store)
                since = 0
        self._save(store)

    def _save(self, store: str) -> None:
        self._maps[store].flush()
        replace_durably(self._folder / f"{store}.done", self._done[store].tobytes())
