"""Predictions a second of the server's own loop, and of bare loops over the same network."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightcl_edge.data.decoding import load_image
from lightcl_edge.inference.head import HeadSession
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.serve.options import ServeOptions
from lightcl_edge.serve.service import Service
from lightcl_edge.serve.sources.contract import Frame, Source, SourceStatus
from lightcl_edge.state.state import State

#: All sides take turns, so that other load on the machine meets all.
_TURNS = 40


@dataclass(frozen=True)
class Rates:
    """A second."""

    served: float
    predicted: float  # decode a file, run trunk and head, one image after the other
    network: float  # trunk and head on one decoded image, again and again
    trunk: float  # the same without the head


class EndlessSource(Source):
    """Always has a newer frame."""

    kind = "video"

    def __init__(self, pictures: Sequence[bytes]) -> None:
        super().__init__()
        self._pictures, self._numbers = itertools.cycle(pictures), itertools.count(1)
        self.given, self.pausing = 0, True

    def status(self) -> SourceStatus:
        return SourceStatus(self.kind, True, "", 0.0)

    def wait_newer(self, number: int, timeout: float) -> Frame | None:
        if self.pausing:
            time.sleep(0.01)
            return None
        self.given += 1
        self._frame = Frame(next(self._numbers), time.time(), next(self._pictures))
        return self._frame


def measure_rates(state: Path, pictures: Sequence[Path], seconds: float, threads: int | None) -> Rates:
    """All rates with this many processors for predictions, None for the server's choice; ``seconds`` of each."""
    options = ServeOptions(state=state, threads=threads)
    threads = options.predicting_threads
    bundle, predictor = State(state).own_bundle(), Predictor(state, threads)
    info = predictor.input
    trunk, head = Trunk(bundle, threads), HeadSession(bundle, None, threads)
    image, files = np.stack([load_image(pictures[0], info)]), itertools.cycle(pictures)
    source = EndlessSource([each.read_bytes() for each in pictures])
    service = Service(options, source)
    service.hub.attach(asyncio.new_event_loop())
    service.viewer.start()
    counts, turn_seconds = np.zeros(4), seconds / _TURNS
    for turn in range(_TURNS + 1):
        found = (
            _served(source, turn_seconds),
            _runs(lambda: list(predictor.predict([load_image(next(files), info)])), turn_seconds),
            _runs(lambda: head.run(trunk.features_of_pixels(image), logits=False), turn_seconds),
            _runs(lambda: trunk.features_of_pixels(image), turn_seconds),
        )
        if turn:  # the first one warms up
            counts += found
    service.close()
    return Rates(*(counts / seconds).tolist())


def _served(source: EndlessSource, seconds: float) -> int:
    before, source.pausing = source.given, False
    time.sleep(seconds)
    source.pausing = True
    time.sleep(0.1)
    return source.given - before


def _runs(work: Callable[[], object], seconds: float) -> int:
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        work()
        count += 1
    return count
