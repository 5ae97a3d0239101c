"""Images to classes with what the device has learned: trunk and head in ONNX Runtime alone, never torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import DataError, StateError
from lightcl_edge.files.tensors import Parameters
from lightcl_edge.inference.head import HeadSession
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.planning.refusal import refuse_prediction
from lightcl_edge.planning.trunk import extraction_batch
from lightcl_edge.state.state import State


@dataclass(frozen=True)
class Evaluation:
    """How well the learned classes are told apart."""

    classes: list[str]
    confusion: NDArray[np.int64]  # counts, shape (classes, classes): row = true class, column = prediction
    skipped: list[str]  # the fault of each unreadable image

    @property
    def accuracy(self) -> float:
        """Share of images that were recognised."""
        return float(self.confusion.diagonal().sum() / max(1, self.confusion.sum()))

    def document(self) -> Document:
        """The document of ``evaluate --json``."""
        totals, right = self.confusion.sum(axis=1), self.confusion.diagonal()
        seen = [row for row in range(len(self.classes)) if totals[row]]
        return {
            "accuracy": self.accuracy,
            "images": int(totals.sum()),
            "skipped_images": len(self.skipped),
            "classes": self.classes,
            "per_class": {
                self.classes[row]: {"accuracy": float(right[row] / totals[row]), "images": int(totals[row])}
                for row in seen
            },
            "confusion": {
                self.classes[row]: {
                    self.classes[column]: int(self.confusion[row, column])
                    for column in np.flatnonzero(self.confusion[row])
                }
                for row in seen
            },
        }


class Predictor:
    """The current generation of a state, ready to predict.

    Raises StateError when there is no state, it is damaged, or it has learned no class yet; BundleError when its bundle
    is damaged; DoesNotFitError when it needs more memory than ``budget_bytes`` or the machine allow.
    """

    def __init__(
        self, state: Path, threads: int | None = None, provider: str | None = None, budget_bytes: int | None = None
    ) -> None:
        holder = State(state)
        bundle = holder.bundle()
        generation = holder.read(bundle=bundle)
        self.generation = generation.meta.generation
        self.classes = generation.meta.classes
        self.grey_range = generation.meta.grey_range
        if not self.classes:
            raise StateError(f"the state at {state} knows no classes yet; teach it some with lightcl-edge train")
        self.plan_bytes, self.allowed_bytes = refuse_prediction(bundle.manifest, budget_bytes)
        self.decoding_limit_bytes = None if budget_bytes is None else self.allowed_bytes
        self.input = bundle.manifest.input
        self.batch = extraction_batch(bundle.manifest)
        self.codec = FeatureCodec(bundle.manifest.feature)
        self._bundle, self._threads = bundle, threads
        self._trunk = Trunk(bundle, threads, provider)
        self.provider = self._trunk.provider
        self.use_weights(generation.parameters)

    def use_weights(self, parameters: Parameters) -> None:
        """Predict with these weights of the head from now on.

        Raises BundleError when a name or shape is not the head's.
        """
        self._head = HeadSession(self._bundle, parameters, self._threads)

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of the known classes, shape ``(n, classes)``, for RGB images at input size."""
        features = self._trunk.features_of_pixels(images)
        # Through uint8 and back, because the head was trained on such features.
        stored = self.codec.decode(self.codec.encode(features))
        logits = self._head.logits(stored)[:, : len(self.classes)]
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)

    def top(self, images: Iterable[ByteImage], count: int) -> list[list[Document]]:
        """The ``count`` most probable classes of each image at input size."""
        results: list[list[Document]] = []
        for batch in _batches(images, self.batch):
            for row in self.probabilities(np.stack(batch)):
                best = np.argsort(-row, kind="stable")[:count]
                results.append([{"class": self.classes[at], "probability": float(row[at])} for at in best])
        return results

    def evaluate(self, dataset: Dataset, progress: Progress) -> Evaluation:
        """Predict labelled images and count.

        Raises DataError when it holds a class that was never learned, or no readable image.
        """
        unknown = sorted(set(dataset.classes) - set(self.classes))
        if unknown:
            raise DataError(
                f"the data has classes {unknown} that were never learned, known are {self.classes}; "
                "train them first or leave them out (lightcl-edge evaluate --skip-unknown)"
            )
        dataset.grey_range = self.grey_range
        rows = [self.classes.index(name) for name in dataset.classes]
        confusion = np.zeros((len(self.classes), len(self.classes)), np.int64)
        skipped: list[str] = []
        labels: list[int] = []

        def readable() -> Iterable[ByteImage]:
            for index in progress.track(range(len(dataset)), "evaluating"):
                try:
                    image = dataset.load(index, self.input)
                except DataError as error:
                    skipped.append(str(error))
                    continue
                labels.append(rows[dataset.labels[index]])
                yield image

        found = [
            at
            for batch in _batches(readable(), self.batch)
            for at in self.probabilities(np.stack(batch)).argmax(axis=1)
        ]
        if not found:
            raise DataError(f"none of the {len(dataset)} images can be read; the first fault: {skipped[0]}")
        np.add.at(confusion, (labels, found), 1)
        return Evaluation(self.classes, confusion, skipped)


def _batches(images: Iterable[ByteImage], size: int) -> Iterable[list[ByteImage]]:
    batch: list[ByteImage] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
