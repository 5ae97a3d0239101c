"""The second stage of a task: images to features, training of the head, and the gate."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import count, first_names
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.held_out_samples import Holdout, split_holdout
from lightcl_edge.data.sums import Pooled, Sums
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.inference.extraction import Extracted, extract
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.checkpoint import Checkpoints
from lightcl_edge.learning.closed_form.temperature import negative_log_likelihood
from lightcl_edge.learning.decide import Job
from lightcl_edge.learning.doubts import warnings
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import make_engine
from lightcl_edge.learning.gate import judge_candidate
from lightcl_edge.learning.judging import (
    HeldOutResult,
    Judgement,
    JudgingSamples,
    Reference,
    earlier_samples,
    earlier_samples_with_features,
    own_samples,
)
from lightcl_edge.learning.kept import Kept, copy_of
from lightcl_edge.learning.lesson import Lesson, judged
from lightcl_edge.learning.loop import TrainingLoop
from lightcl_edge.learning.starting_point import Beginning, StartingPoint, checkpoint_key
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.contract import Settings, Strategy
from lightcl_edge.learning.strategies.forward import parts
from lightcl_edge.learning.strategies.strategy_state import part_of
from lightcl_edge.learning.taps import taps_of, with_exported_samples, with_samples
from lightcl_edge.machine.blas import one_blas_thread
from lightcl_edge.machine.cooling import Cooler
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_edge.planning.ort import spare_step_bytes

#: Streams of random numbers, apart from each other whatever the seed.
_STREAM_ORDER, _STREAM_BUFFER = 2, 3


@dataclass(frozen=True)
class Watch:
    """Who watches a task: measures its phases, shows its progress, pauses it while the board is hot."""

    meter: PhaseMeter
    progress: Progress
    cooler: Cooler


@dataclass(frozen=True)
class Trained:
    """What was learned, and what it is to be judged by."""

    classifier: LearnedClassifier
    sums: Sums
    references: tuple[Reference, Reference]  # samples of earlier classes, samples of the task
    after: tuple[FloatArray, FloatArray]  # logits of both under the new classifier
    untrained: FloatArray | None  # logits of the task's samples before the first step; None when there was none
    held_out: Holdout  # of the task
    loss: float  # mean of the last epoch, or of the task's samples when there were no steps
    resumed: bool  # from a checkpoint
    row_scale: float | None
    pooled: Pooled | None  # the sums of all classes together, if the next task wants them


@dataclass(frozen=True)
class Candidate:
    """A head that the gate accepted, and what is kept beside it."""

    engine: Engine  # holds the head
    strategy: Strategy
    extracted: Extracted
    trained: Trained
    judgement: Judgement
    tested: HeldOutResult  # on all held-out samples
    holdout: Holdout
    buffer: FeatureBuffer
    warnings: list[str]  # what a person should look at


def images_to_features(job: Job, start: Beginning, watch: Watch) -> tuple[Extracted, Beginning]:
    """The task's features, and the beginning without new classes of which no image can be read.

    Raises:
        LightclError: when no image can be read, or the trunk can't run here.
    """
    options, dataset = job.options, job.dataset
    with watch.meter.phase("extract"):
        extracted = extract(
            start.bundle,
            lambda: start.kept.open_trunk(start.bundle, options.threads, options.provider),
            dataset,
            start.data,
            job.state.work / "features",
            watch.progress,
            watch.cooler,
        )
        start.kept.close_trunk()
    read = np.bincount(extracted.store.labels, minlength=len(dataset.classes))
    missing = [name for row, name in enumerate(dataset.classes) if not read[row]]
    if missing:
        job.tell(f"nothing is learned of {first_names(missing)}: none of the images can be read")
    known = start.meta.classes
    classes = [name for name in start.classes if name in known or name not in missing]
    return extracted, replace(start, classes=classes)


def learn(job: Job, start: StartingPoint, extracted: Extracted, watch: Watch) -> Candidate:
    """Train the head on the task and judge it.

    Raises:
        RejectedError: when the gate keeps the old head.
        LightclError: when the engine can't run here.
    """
    options, bundle, meter = job.options, start.bundle, watch.meter
    row_of = {name: row for row, name in enumerate(start.classes)}
    labels = np.array([row_of.get(name, -1) for name in job.dataset.classes])[extracted.store.labels]
    train_rows, held_rows = split_holdout(labels, extracted.store.marks, start.holdout)
    samples = Samples(extracted.store, start.codec, labels, train_rows)
    with meter.phase("import"):
        strategy = _strategy(job, start)
        sizes = job.settings.batch_size, job.pattern_samples
        spare_bytes = spare_step_bytes(bundle.manifest, *sizes, quick=job.plan.quick_steps)
        patterns, trains = job.pattern_samples > 0, strategy.trains_head
        make = partial(make_engine, job.engine, bundle, options.threads, spare_bytes, patterns, trains)
        engine = make() if trains else start.kept.open_engine(job.engine.name, make)
    with meter.phase("train"), one_blas_thread():
        trained = _train(job, start, watch, engine, strategy, samples, held_rows, extracted.store.marks[held_rows])
    if trains:
        give_back()  # garbage of the steps, and pages of libraries that only they needed
    with meter.phase("gate"):
        judgement, tested = judge_candidate(
            trained.references,
            trained.after,
            trained.untrained,
            start.holdout.lacks(trained.held_out),
            start.classes,
            start.known_classes,
            options.max_forgetting,
        )
        holdout = start.holdout.extended(trained.held_out)
        random = start.random(options.seed, _STREAM_BUFFER)
        offered = extracted.store.read, train_rows, labels[train_rows]
        buffer = fill(start.buffer, *offered, job.buffer_limit, random, options.buffer_fill)
        doubts = warnings(judgement, trained.references, trained.after[0], start.known_classes)
        doubts += _seen_before(start, trained.held_out)
    return Candidate(engine, strategy, extracted, trained, judgement, tested, holdout, buffer, doubts)


def _with_scores(start: StartingPoint) -> LearnedClassifier:
    """The classifier before the task, with what tells images that were never seen where that is at hand."""
    before = start.generation
    return classifier_of(before) if "novelty.matrix" in before.classifier else start.classifier


def _seen_before(start: StartingPoint, held_out: Holdout) -> list[str]:
    """Whether the images were taught before: an image that comes again is held out again."""
    if start.data.fingerprint in start.generation.meta.sources:
        return ["the same images were taught before; now they count twice"]
    again = int((~start.holdout.lacks(held_out)).sum())
    images = count(len(held_out.labels), "held-out image")
    return [f"some images were taught before and count twice: {again} of {images} came again"] if again else []


def _strategy(job: Job, start: StartingPoint) -> Strategy:
    """The strategy, with what it kept of earlier tasks."""
    settings = job.settings
    own = Settings(settings.beta, settings.ratio, settings.buffer_samples)
    strategy = STRATEGIES[settings.strategy](start.bundle.manifest.head, own)
    strategy.restore(part_of(start.generation.strategy_state, strategy.name))
    return strategy


def _train(
    job: Job,
    start: StartingPoint,
    watch: Watch,
    engine: Engine,
    strategy: Strategy,
    samples: Samples,
    held_rows: IntArray,
    held_marks: NDArray[np.uint64],
) -> Trained:
    sums, pooled = _taught(start, engine, samples)
    taps = taps_of(engine, samples.read, held_rows, sums.size).astype(np.float16)
    held_out = Holdout(samples.store.read(held_rows), samples.labels[held_rows], taps, held_marks)
    earlier = _earlier_samples(start, strategy, engine)
    own = own_samples(held_out, samples, start.codec, engine)
    loaded = (start.generation if start.classifier.needs_head else start.exported).parameters
    if start.classifier.needs_head:
        engine.load(loaded)
    references = (
        Reference.of(earlier, start.classifier, engine),
        Reference.of(own, _with_scores(start), engine, unknown=True),
    )
    lesson = Lesson(engine, strategy, start.bundle.manifest.head, start.classes, start.known, samples, sums, loaded)
    order = partial(start.random, job.options.seed, _STREAM_ORDER)
    pooled, kept_pooled = _together(lesson, start.kept, pooled)
    form = lesson.closed_form(pooled, *_held_out(earlier, own))
    task, row_scale = lesson.start(form, job.settings.batch_size, order(0))
    untrained = own.logits(lesson.untrained(form), engine) if strategy.trains_head else None
    checkpoints = Checkpoints(job.state.work, checkpoint_key(job, start))
    loop = TrainingLoop(engine, strategy, job.settings, order, checkpoints, watch.progress, watch.cooler)
    classifier, outcome = lesson.learn(task, loop)
    engine.rest()  # before samples are read to judge the head by
    after = earlier.logits(classifier, engine), own.logits(classifier, engine)
    held = (after[0][: earlier.held_out], after[1][: own.held_out]) if classifier.needs_head else (after[0][:0],)
    classifier = judged(classifier, np.concatenate(held), *_held_out(earlier, own), form)
    loss = outcome.loss if strategy.trains_head else _mean_loss(after[1], own.labels, classifier.temperature)
    return Trained(
        classifier,
        sums,
        references,
        after,
        untrained,
        held_out,
        loss,
        outcome.resumed,
        row_scale,
        kept_pooled,
    )


def _taught(start: StartingPoint, engine: Engine, samples: Samples) -> tuple[Sums, Pooled | None]:
    """The sums with the task's samples; all classes' together if the last task's are known. It loads the head."""
    kept, before = start.kept, start.generation.sums
    if engine is not kept.engine:
        engine.load(start.exported.parameters)  # it makes all taps
    if kept.pooled is None:
        sums = with_exported_samples(before, engine, start.buffer, start.exported.meta.classes)
        return with_samples(sums, engine, samples, start.classes), None
    more = with_samples(Sums(before.size), engine, samples, start.classes)
    pooled, kept.pooled = kept.pooled, None  # it is changed in place
    for row, name in enumerate(start.classes):
        if name in more.classes:
            pooled = pooled.joined(row, more.classes[name].read())
    return before.merge(more), pooled


def _together(lesson: Lesson, kept: Kept, pooled: Pooled | None) -> tuple[Pooled | None, Pooled | None]:
    """The sums of all classes together, and a copy if the next task wants them."""
    if not lesson.strategy.trains_head and lesson.all_sampled and not kept.wanted:
        lesson.engine.close()  # all is solved without the head, which would take its memory beside it
    pooled = lesson.pooled() if pooled is None else pooled
    return pooled, copy_of(pooled) if pooled is not None and kept.wanted else None


def _earlier_samples(start: StartingPoint, strategy: Strategy, engine: Engine) -> JudgingSamples:
    if start.classifier.needs_head or strategy.trains_head:
        return earlier_samples_with_features(start.holdout, start.buffer, start.codec, engine)
    first_taps = start.kept.first_taps if start.kept.wanted else {}
    return earlier_samples(start.holdout, start.generation.sums, start.generation.meta.classes, first_taps)


def _held_out(earlier: JudgingSamples, own: JudgingSamples) -> tuple[FloatArray, IntArray]:
    """Taps and labels of all held-out samples."""
    parts = (earlier, own)
    taps = np.concatenate([part.taps[: part.held_out] for part in parts]).astype(np.float32)
    return taps, np.concatenate([part.labels[: part.held_out] for part in parts])


def _mean_loss(logits: FloatArray, labels: IntArray, temperature: float) -> float:
    found = [
        negative_log_likelihood(logits[rows].astype(np.float64) / temperature, labels[rows])
        for rows in parts(np.arange(len(labels)))
    ]
    return float(np.concatenate(found).mean())
