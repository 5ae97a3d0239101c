"""Images to classes with what the device has learned: trunk and head in ONNX Runtime alone, never torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.data.decoding import ByteImage
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import BundleError, StateError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, Parameters
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.inference.golden import check_golden
from lightcl_edge.inference.head import HeadSession
from lightcl_edge.inference.prediction import Limits, Prediction
from lightcl_edge.inference.trial import begin_start, end_start
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.machine.blas import one_blas_thread
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.planning.refusal import refuse_prediction
from lightcl_edge.planning.trunk import extraction_batch
from lightcl_edge.state.generation import Generation
from lightcl_edge.state.state import State


@dataclass(frozen=True)
class Scores:
    """Of ``n`` images."""

    probabilities: FloatArray  # (n, classes)
    novelty: DoubleArray | None  # (n,); None when nothing gives such
    taps: FloatArray  # (n, tap_size)


class Predictor:
    """The current generation of a state, ready to predict.

    Raises StateError when there is no state, it is damaged, or it has learned no class yet; BundleError when its bundle
    is damaged; DoesNotFitError when it needs more memory than ``budget_bytes`` or the machine allow.

    The first one with a bundle that came over the air proves it on the golden images. If that fails, the state goes
    back, and this predicts with the bundle before.
    """

    def __init__(
        self, state: Path, threads: int | None = None, provider: str | None = None, budget_bytes: int | None = None
    ) -> None:
        self._state, self._threads = State(state), threads
        trial = None if budget_bytes is not None else begin_start(self._state)
        try:
            self._open(provider, budget_bytes, prove=trial is not None)
        except Exception as error:
            if trial is None or not end_start(self._state, trial, f"{type(error).__name__}: {error}"):
                raise
            give_back()
            self._open(provider, budget_bytes)
        else:
            if trial is not None:
                end_start(self._state, trial)

    def _open(self, provider: str | None, budget_bytes: int | None, *, prove: bool = False) -> None:
        threads = self._threads
        self._bundle = self._state.bundle()
        generation = self._taught()
        self.plan_bytes, self.allowed_bytes = refuse_prediction(self._bundle.manifest, budget_bytes)
        self.decoding_limit_bytes = None if budget_bytes is None else self.allowed_bytes
        self.input = self._bundle.manifest.input
        self.batch = extraction_batch(self._bundle.manifest)
        self.codec = FeatureCodec(self._bundle.manifest.feature)
        if prove:
            check_golden(self._bundle, threads, provider)
            give_back()
        self._trunk = Trunk(self._bundle, threads, provider)
        self.provider = self._trunk.provider
        self._exported: HeadSession | None = None
        self._use(generation)
        if prove and not np.isfinite(self.scores(self._bundle.golden()["images"].astype(np.uint8)).probabilities).all():
            raise BundleError("probabilities of the golden images are not finite, expected numbers of 0 to 1")

    def follow(self) -> bool:
        """Move to the generation that is in use now, with the same trunk; False when the state has another bundle.

        Raises as the constructor.
        """
        if self._state.bundle().identity != self._bundle.identity:
            return False
        self._use(self._taught())
        return True

    def _taught(self) -> Generation:
        generation = self._state.read(bundle=self._bundle)
        if not generation.meta.classes:
            raise StateError(
                f"the state at {self._state.folder} knows no classes yet; teach it some with lightcl-edge train"
            )
        return generation

    def _use(self, generation: Generation) -> None:
        self.generation = generation.meta.generation
        self.classes = generation.meta.classes
        self.grey_range = generation.meta.grey_range
        self.classifier = classifier_of(generation)
        needs_head = self.classifier.needs_head
        #: Taps are always those of the head as exported: sums of all tasks, and of other devices, are of these.
        self._taps_head = self._exported_head() if needs_head and self.classifier.tells_unknown else None
        if needs_head:
            self.use_weights(generation.parameters)
        else:
            self._head = self._exported_head()

    def _exported_head(self) -> HeadSession:
        if self._exported is None:
            self._exported = HeadSession(self._bundle, None, self._threads)
        return self._exported

    def use_weights(self, parameters: Parameters) -> None:
        """Predict with these weights of the head from now on.

        Raises BundleError when a name or shape is not the head's.
        """
        self._head = HeadSession(self._bundle, parameters, self._threads)

    def scores(self, images: NDArray[np.uint8]) -> Scores:
        """Scores of RGB images at input size, shape ``(n, height, width, 3)``."""
        return self.scores_of_features(self.features(images))

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Features as they are stored, shape ``(n, *feature_shape)``, of RGB images ``(n, height, width, 3)``."""
        # Stored ones, because the head was trained on such.
        return self.codec.encode(self._trunk.features_of_pixels(images))

    def scores_of_features(self, features: NDArray[np.uint8]) -> Scores:
        """Scores of features as they are stored, shape ``(n, *feature_shape)``."""
        stored = self.codec.decode(features)
        taps, logits = self._head.run(stored, logits=self.classifier.needs_head)
        if self._taps_head is not None:
            taps, _ = self._taps_head.run(stored, logits=False)
        with one_blas_thread():  # others would wait in a loop, and take the processors from the next image's trunk
            return Scores(self.classifier.probabilities(taps, logits), self.classifier.novelty(taps), taps)

    def scores_of(self, images: Iterable[ByteImage]) -> Iterator[Scores]:
        """Scores of images at input size, a few images at a time."""
        for batch in _batches(images, self.batch):
            yield self.scores(np.stack(batch))

    def predict(self, images: Iterable[ByteImage], limits: Limits | None = None) -> Iterator[Prediction]:
        """A prediction for each image at input size; None for the default limits."""
        for scores in self.scores_of(images):
            yield from self.predictions(scores, limits or Limits())

    def predictions(self, scores: Scores, limits: Limits) -> Iterator[Prediction]:
        """What the scores of images say of each."""
        novelty = scores.novelty
        called = None if novelty is None else self.classifier.is_unknown(novelty, limits.false_alarms)
        for at, row in enumerate(scores.probabilities):
            best = np.argsort(-row, kind="stable")
            yield Prediction(
                label=self.classes[best[0]],
                probability=float(row[best[0]]),
                probabilities={self.classes[place]: float(row[place]) for place in best},
                unknown=called is not None and bool(called[at]),
                unknown_score=None if novelty is None else float(novelty[at]),
                unsure=bool(row[best[0]] < limits.unsure_below),
            )


def _batches(images: Iterable[ByteImage], size: int) -> Iterable[list[ByteImage]]:
    batch: list[ByteImage] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
