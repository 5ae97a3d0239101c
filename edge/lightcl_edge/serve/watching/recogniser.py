"""Predicts with the generation in use, and moves to a newer one at the next picture."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import numpy as np

from lightcl_edge.data.decoding import ByteImage, decode, open_bytes, resize
from lightcl_edge.data.region import WHOLE, Region, crop
from lightcl_edge.errors import LightclError
from lightcl_edge.files.tensors import ByteArray, FloatArray
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.serve.records.watching import Prediction, Top
from lightcl_edge.state.pointer import Pointer, read_pointer
from lightcl_edge.state.state import State

#: Classes that an answer names.
TOP = 5


class Recogniser:
    """One predictor for all threads of the server."""

    def __init__(self, state: Path, threads: int | None = None) -> None:
        self._state, self._threads = State(state), threads
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None
        self._opened_for: Pointer | None = None
        self.problem: str | None = None  # why nothing can be predicted; None while it can, or nothing was learned

    def predict(self, picture: bytes, region: Region | None = None, name: str = "the picture") -> Prediction | None:
        """What a picture shows; None when nothing was learned yet, or :attr:`problem` says what is wrong.

        Raises DataError when it is no readable picture.
        """
        with self._lock:
            predictor = self._current()
            if predictor is None:
                return None
            return _prediction(predictor, _pixels(picture, region or WHOLE, predictor, name))

    def probabilities(self, features: ByteArray) -> FloatArray | None:
        """Of stored features, shape ``(n, classes)``; None when nothing was learned yet."""
        with self._lock:
            predictor = self._current()
            return None if predictor is None else predictor.scores_of_features(features).probabilities

    def _current(self) -> Predictor | None:
        """The predictor of the generation in use; the one before is dropped first, so that both never take memory."""
        pointer = read_pointer(self._state.folder)
        if pointer == self._opened_for:
            return self._predictor
        self._predictor, self._opened_for, self.problem = None, pointer, None
        give_back()
        try:
            if pointer is not None and self._state.read().meta.classes:
                self._predictor = Predictor(self._state.folder, self._threads)
        except LightclError as error:
            self.problem = str(error)
        return self._predictor


def _pixels(picture: bytes, region: Region, predictor: Predictor, name: str) -> ByteImage:
    """At the trunk's input size, as training reads the same picture."""
    if region == WHOLE:
        return decode(open_bytes(picture, name), name, predictor.input, None, predictor.grey_range)
    return resize(np.ascontiguousarray(crop(picture, region, name)), predictor.input)


def _prediction(predictor: Predictor, pixels: ByteImage) -> Prediction:
    found = next(iter(predictor.predict([pixels])))
    top = [Top(name, probability) for name, probability in islice(found.probabilities.items(), TOP)]
    return Prediction(predictor.generation, top, found.unknown, found.unknown_score, found.unsure)
