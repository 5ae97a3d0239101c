"""Federated averaging of the head (McMahan et al. 2017): a board's steps on what it remembers, and taking an average.

After a merge all boards have the same classifier in closed form. On top of it the head is trained as by ``replay``,
here on the samples of one board. A server averages what boards give, and sends it back for the next round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.bundle.signature import read_private_key
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import FloatArray, IntArray, Parameters
from lightcl_edge.fleet.candidate import Candidate
from lightcl_edge.fleet.head_file import HeadFile, head_record, write_head
from lightcl_edge.fleet.knowledge import network_hash
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.learning.closed_form.classifier import ClosedForm, fitted
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import choose_engine, make_engine
from lightcl_edge.learning.gate import refuse_broken, refuse_forgetting
from lightcl_edge.learning.judging import HeldOutResult, earlier_samples_with_features, judge
from lightcl_edge.learning.lesson import judged, on_top_of
from lightcl_edge.learning.loop import TrainingLoop
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import recommended_for
from lightcl_edge.learning.strategies.contract import Settings, Strategy, Task
from lightcl_edge.machine.blas import one_blas_thread
from lightcl_edge.planning.ort import spare_step_bytes
from lightcl_edge.state.board import Board
from lightcl_edge.state.exported_classes import base_generation
from lightcl_edge.state.generation import Generation
from lightcl_edge.state.state import State

_STRATEGY, _ON_TOP_OF = "replay", ("slda", "replay")
#: Passes over what a board remembers in one round.
EPOCHS = 1


@dataclass(frozen=True)
class _Trainer:
    """What trains a head on the samples that a state remembers."""

    bundle: Bundle
    generation: Generation
    exported: Generation
    buffer: FeatureBuffer
    holdout: Holdout
    engine: Engine
    strategy: Strategy
    form: ClosedForm

    @classmethod
    def of(cls, state: State, threads: int | None) -> _Trainer:
        """Raises StateError when nothing is remembered, or a class has no sample anywhere."""
        bundle = state.bundle()
        generation, exported = state.read(bundle=bundle), base_generation(state.folder, bundle)
        manifest, classes = bundle.manifest, generation.meta.classes
        buffer = FeatureBuffer.from_tensors(generation.buffer, BufferIdentity(bundle.sha256(TRUNK), manifest.feature))
        if not len(buffer) or not set(classes) <= set(generation.sums.classes):
            raise StateError("this state remembers no samples, or not of all classes that the bundle brought")
        settings = recommended_for(manifest.defaults, _STRATEGY)
        strategy = STRATEGIES[_STRATEGY](manifest.head, Settings(0.0, settings.ratio, 0))
        spare = spare_step_bytes(manifest, settings.batch_size, 0)
        engine = make_engine(choose_engine("auto", bundle), bundle, threads, spare, patterns=False)
        holdout = Holdout.from_tensors(generation.holdout, tuple(manifest.feature.shape), generation.sums.size)
        taps = holdout.taps.astype(np.float32)
        sums = generation.sums
        form = fitted(sums, classes, sums.pooled(classes), strategy.fit, (taps, holdout.labels))
        return cls(bundle, generation, exported, buffer, holdout, engine, strategy, form)

    def task(self, start: Parameters) -> Task:
        """All that is remembered, as a task without new samples."""
        none = np.empty(0, np.int64)
        known = len(self.generation.meta.classes)
        return Task(0, none, known, none, _nothing, none, self.buffer, self.exported.parameters, start, self.form)

    def start(self) -> Parameters:
        """The head as exported, with zero rows."""
        head = self.bundle.manifest.head
        zeros: dict[str, FloatArray] = {
            WEIGHT: np.zeros((head.capacity, head.penultimate_size), np.float32),
            BIAS: np.zeros(head.capacity, np.float32),
        }
        return {**self.exported.parameters, **zeros}


def _nothing(_rows: IntArray) -> FloatArray:
    raise StateError("there are no new samples")


@one_blas_thread()
def train_head(
    state: State, board: Board, begin: Path | None, out: Path, key: Path | None, threads: int | None, progress: Progress
) -> Document:
    """Train a head on what a state remembers, and write it.

    Args:
        begin: the head to begin with; None for the one that was exported.

    Raises:
        StateError: when nothing is remembered.
        DataError: when the head to begin with is of another network or other classes.
    """
    trainer = _Trainer.of(state, threads)
    head, classes = trainer.bundle.manifest.head, trainer.generation.meta.classes
    network = network_hash(trainer.bundle)
    private, start = read_private_key(key) if key else None, trainer.start()
    if begin is not None:
        given = HeadFile(begin)
        given.check(network, head.tap_size, None, head)
        start = given.parameters_of(classes, head.capacity)
    settings = replace(recommended_for(trainer.bundle.manifest.defaults, _STRATEGY), epochs=EPOCHS)
    order = _orders(trainer.generation.meta.generation)
    loop = TrainingLoop(trainer.engine, trainer.strategy, settings, order, None, progress)
    outcome = loop.run(trainer.task(start))
    about = head_record(str(board.name), network, head.tap_size, len(trainer.buffer), board.erased)
    written = write_head(out, about, trainer.engine.views(), classes, private)
    trainer.engine.close()
    return {
        "board": board.name,
        "path": str(out),
        "bytes": written,
        "classes": sorted(classes),
        "samples": len(trainer.buffer),
        "loss": outcome.loss,
        "signed": private is not None,
    }


def _orders(generation: int) -> Callable[[int], np.random.Generator]:
    return lambda epoch: np.random.default_rng([generation, epoch])


@one_blas_thread()
def with_head(state: State, file: HeadFile, max_forgetting: float, threads: int | None) -> Candidate | None:
    """The generation with a head that others trained too; None where it is of no use on what this board remembers.

    It is of use on top of ``slda``, where it makes that better, and no worse than the head that there is.

    Args:
        file: whose ``check`` was called.

    Raises:
        DataError: when it has rows of other classes.
        RejectedError: when the gate keeps the old classifier.
    """
    if state.read().meta.strategy not in _ON_TOP_OF:
        return None
    trainer = _Trainer.of(state, threads)
    engine, strategy, generation = trainer.engine, trainer.strategy, trainer.generation
    classes, head = generation.meta.classes, trainer.bundle.manifest.head
    parameters = file.parameters_of(classes, head.capacity)
    task = trainer.task(parameters)
    strategy.begin(task, engine)  # it leaves the exported head in the engine
    codec, holdout = FeatureCodec(trainer.bundle.manifest.feature), trainer.holdout
    samples = earlier_samples_with_features(holdout, trainer.buffer, codec, engine)
    old = classifier_of(generation)
    if old.needs_head:
        engine.load(generation.parameters)
    before = samples.logits(old, engine)
    share = strategy.head_share
    least = min(strategy.loss(task, engine, 0.0), strategy.loss(task, engine, share if old.needs_head else 0.0))
    engine.load(parameters)
    if strategy.loss(task, engine, share) > least:
        engine.close()
        return None
    new = on_top_of(trainer.form, share)
    after = samples.logits(new, engine)
    engine.close()
    labels = samples.labels[: samples.held_out]
    new = judged(new, after[: samples.held_out], holdout.taps.astype(np.float32), labels, trainer.form)
    judgement = judge(classes, len(classes), samples.labels, before, after, samples.held_out)
    refuse_broken([after], judgement)
    refuse_forgetting(judgement, max_forgetting)
    tested = HeldOutResult.of(after[: samples.held_out].argmax(axis=1) == labels, labels)
    meta = replace(
        generation.meta,
        strategy=_STRATEGY,
        holdout_accuracy=tested.accuracy,
        holdout_right=tested.right,
        holdout_images=tested.images,
    )
    found = replace(generation, meta=meta, parameters=parameters, classifier=new.tensors())
    return Candidate(found, judgement, [])
