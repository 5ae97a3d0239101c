"""What a running ``Learner`` keeps from one image to the next.

One more image then takes little more than its pass through the trunk: no session is opened, and no file of the present
generation is read, unless another process changed the state. Nothing here is needed after a crash, because everything
follows from the state.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.class_sums import HalfArray
from lightcl_edge.data.sums import Pooled
from lightcl_edge.files.plain import FileTime
from lightcl_edge.inference.learned_classifier import LearnedClassifier, NoveltyTerms
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.state.generation import Generation
from lightcl_edge.state.generation_files import as_read_back, file_times
from lightcl_edge.state.state import State


@dataclass
class Kept:
    """Between two tasks.

    Attributes:
        wanted: whether to keep anything. If not, memory is given back as early as it can be.
        trunk: open for images; None before the first task, as all that follows.
        engine: holds the head as exported. It is kept only while no step trains it.
        generation: that the last task made.
        classifier: of that generation, without its novelty terms.
        pooled: the sums of its classes together, in row order.
        first_taps: samples that classes with few held-out ones are judged by, by the SHA-256 of the class's sums.
    """

    wanted: bool = False
    trunk: Trunk | None = None
    engine: Engine | None = None
    generation: Generation | None = None
    classifier: LearnedClassifier | None = None
    pooled: Pooled | None = None
    first_taps: dict[str, HalfArray] = field(default_factory=dict)
    _files: list[FileTime] = field(default_factory=list)
    _process: int = field(default_factory=os.getpid)

    @property
    def holds(self) -> bool:
        """Whether there is anything to give back."""
        return self.trunk is not None or self.generation is not None

    def check(self, state: State, number: int, bundle: Bundle) -> None:
        """Drop everything unless it is of the generation of this number, and that is still as it was."""
        found, files = self.generation, file_times(state.place(number))
        other = found is None or found.meta.generation != number or found.meta.bundle_identity != bundle.identity
        if other or files != self._files or self._process != os.getpid():
            self.drop()

    def open_trunk(self, bundle: Bundle, threads: int | None, provider: str | None) -> Trunk:
        """The trunk, opened if it is not open yet."""
        self.trunk = self.trunk or Trunk(bundle, threads, provider)
        return self.trunk

    def close_trunk(self) -> None:
        """All images are features."""
        if not self.wanted:
            self.trunk = None
            give_back()

    def open_engine(self, name: str, make: Callable[[], Engine]) -> Engine:
        """The engine of this name that holds the head as exported, or a new one."""
        if self.engine is not None and self.engine.name != name:
            self.engine = None
        return self.engine or make()

    def keep(
        self,
        state: State,
        written: Generation,
        classifier: LearnedClassifier,
        engine: Engine | None,
        pooled: Pooled | None,
    ) -> None:
        """Keep what the next task begins with, after a generation was committed.

        ``engine`` is None if it no longer holds the head as exported. Then nothing is kept.
        """
        if not self.wanted or engine is None:
            self.drop()
            return
        place = state.place(written.meta.generation)
        self.generation, self._files = as_read_back(place, replace(written, classifier={})), file_times(place)
        self.classifier = replace(classifier, terms=NoveltyTerms.none())
        self.engine, self.pooled = engine, pooled

    def drop(self) -> None:
        """Keep nothing."""
        self.trunk = self.engine = self.generation = self.classifier = self.pooled = None
        self.first_taps, self._files, self._process = {}, [], os.getpid()


def copy_of(pooled: Pooled) -> Pooled:
    """Sums with a scatter of their own, because solving overwrites it."""
    return replace(pooled, scatter=pooled.scatter.copy())
