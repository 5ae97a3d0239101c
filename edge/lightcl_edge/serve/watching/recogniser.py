"""Predicts with the generation in use, and moves to a newer one at the next picture."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lightcl_edge.data.decoding import ByteImage, decode, open_bytes, resize
from lightcl_edge.data.region import WHOLE, Region, crop
from lightcl_edge.errors import LightclError
from lightcl_edge.files.tensors import ByteArray, FloatArray, IntArray
from lightcl_edge.inference.evaluation import Evaluation, evaluate_scores
from lightcl_edge.inference.prediction import Limits
from lightcl_edge.inference.predictor import Predictor, Scores
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.serve.records.watching import Prediction, Top
from lightcl_edge.state.pointer import Pointer, read_pointer
from lightcl_edge.state.state import State

#: Stored features that are judged at once.
_BATCH = 32
#: Classes that an answer names.
TOP = 5


@dataclass(frozen=True)
class Seen:
    """What one picture shows, and features that tell whether another shows the same.

    Attributes:
        features: taps around the middle of all classes, shape ``(tap_size,)``; None without a closed form.
    """

    prediction: Prediction
    features: FloatArray | None


@dataclass(frozen=True)
class Prepared:
    """What a picture is before the head sees it: stored features ``(1, *feature_shape)``, and whose trunk made them.

    It does not keep that predictor: where the bundle changes, two trunks would take memory.
    """

    predictor: weakref.ref[Predictor]
    features: ByteArray


class Recogniser:
    """One predictor for all threads of the server. Its trunk and its head may work on two pictures at once."""

    def __init__(self, state: Path, threads: int | None = None) -> None:
        self._state, self._threads = State(state), threads
        self._lock, self._trunk_lock = threading.Lock(), threading.Lock()  # where both are held, in this order
        self._predictor: Predictor | None = None
        self._opened_for: Pointer | None = None
        self.problem: str | None = None  # why nothing can be predicted; None while it can, or nothing was learned

    def predict(self, picture: bytes, region: Region | None = None, name: str = "the picture") -> Prediction | None:
        """What a picture shows; None when nothing was learned yet, or :attr:`problem` says what is wrong.

        Raises DataError when it is no readable picture.
        """
        seen = self.see(picture, region, name)
        return None if seen is None else seen.prediction

    def see(self, picture: bytes, region: Region | None, name: str, prepared: Prepared | None = None) -> Seen | None:
        """As :meth:`predict`; ``prepared`` is what :meth:`prepare` made of the picture, where that is known already."""
        with self._lock:
            predictor = self._current()
            if predictor is None:
                return None
            if prepared is not None and prepared.predictor() is predictor:
                return _seen(predictor, prepared.features)
            pixels = _pixels(picture, region or WHOLE, predictor, name)
            with self._trunk_lock:
                features = predictor.features(pixels[None])
            return _seen(predictor, features)

    def pixels(self, picture: bytes, region: Region | None, name: str) -> ByteImage | None:
        """Decode a picture while another one is predicted; None while nothing can be predicted.

        Raises DataError when it is no readable picture.
        """
        predictor = self._predictor
        return None if predictor is None else _pixels(picture, region or WHOLE, predictor, name)

    def prepare(self, pixels: ByteImage) -> Prepared | None:
        """Run the trunk on what :meth:`pixels` gave; None when there is none, or its input has another size by now."""
        with self._trunk_lock:
            predictor = self._predictor
            if predictor is None or pixels.shape != (predictor.input.height, predictor.input.width, 3):
                return None
            return Prepared(weakref.ref(predictor), predictor.features(pixels[None]))

    def evaluate(self, features: ByteArray, labels: IntArray, generation: int) -> Evaluation | None:
        """Judge stored features, shape ``(n, ...)``, with labels ``(n,)``; None when a generation is not in use."""
        predictor, found = None, list[Scores]()
        for at in range(0, len(labels), _BATCH):
            with self._lock:  # live pictures come in between
                predictor = self._current()
                if predictor is None or predictor.generation != generation:
                    return None
                found.append(predictor.scores_of_features(features[at : at + _BATCH]))
        return None if predictor is None else evaluate_scores(predictor, found, labels)

    def _current(self) -> Predictor | None:
        """The predictor of the generation in use."""
        pointer = read_pointer(self._state.folder)
        if pointer == self._opened_for:
            return self._predictor
        before, self._predictor, self._opened_for, self.problem = self._predictor, None, pointer, None
        try:
            if pointer is not None and self._state.read(pointer.current).meta.classes:
                if before is None or not before.follow():
                    del before  # so that two trunks never take memory
                    with self._trunk_lock:  # nobody works with the old one any more
                        give_back()
                        before = Predictor(self._state.folder, self._threads)
                self._predictor = before
        except LightclError as error:
            self.problem = str(error)
        return self._predictor


def _pixels(picture: bytes, region: Region, predictor: Predictor, name: str) -> ByteImage:
    """At the trunk's input size, as training reads the same picture."""
    if region == WHOLE:
        return decode(open_bytes(picture, name), name, predictor.input, None, predictor.grey_range)
    return resize(np.ascontiguousarray(crop(picture, region, name)), predictor.input)


def _seen(predictor: Predictor, features: ByteArray) -> Seen:
    scores = predictor.scores_of_features(features)
    found = next(predictor.predictions(scores, Limits()))
    top = [Top(name, probability) for name, probability in islice(found.probabilities.items(), TOP)]
    classifier = predictor.classifier
    # From the middle of all classes: what all pictures have in common would make different ones look alike.
    centred = scores.taps[0] - classifier.terms.centre if classifier.tells_unknown else None
    return Seen(Prediction(predictor.generation, top, found.unknown, found.unknown_score, found.unsure), centred)
