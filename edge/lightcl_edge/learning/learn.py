"""The second stage of a task: images to features, training of the head, and the gate."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lightcl_edge.bundle.bundle import HEAD_PARAMETERS
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import first_names
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.held_out_samples import Holdout, split_holdout
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import TensorFile
from lightcl_edge.inference.extraction import Extracted, extract
from lightcl_edge.learning.checkpoint import Checkpoints
from lightcl_edge.learning.decide import Job
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import make_engine
from lightcl_edge.learning.gate import judge_new_head
from lightcl_edge.learning.judging import Judgement, Reference, earlier_samples, own_samples
from lightcl_edge.learning.loop import TrainingLoop, start_new_rows
from lightcl_edge.learning.starting_point import StartingPoint, checkpoint_key
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.contract import Settings, Strategy
from lightcl_edge.learning.strategies.forward import FORWARD_BATCH
from lightcl_edge.learning.strategies.strategy_state import part_of
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
    """A head after its last step, and what it is to be judged by."""

    earlier: Reference  # samples of earlier classes
    own: Reference  # samples of the task
    held_out: Holdout  # of the task
    loss: float  # mean of the last epoch
    resumed: bool  # from a checkpoint
    row_scale: float | None


@dataclass(frozen=True)
class Candidate:
    """A head that the gate accepted, and what is kept beside it."""

    engine: Engine  # holds the head
    strategy: Strategy
    extracted: Extracted
    trained: Trained
    judgement: Judgement
    holdout_accuracy: float | None  # on all held-out samples; None while there are none
    holdout: Holdout
    buffer: FeatureBuffer


def images_to_features(job: Job, start: StartingPoint, watch: Watch) -> tuple[Extracted, StartingPoint]:
    """The task's features, and the starting point without new classes of which no image can be read.

    Raises:
        LightclError: when no image can be read, or the trunk can't run here.
    """
    options, dataset = job.options, job.dataset
    with watch.meter.phase("extract"):
        extracted = extract(
            start.bundle,
            dataset,
            start.data,
            job.state.work / "features",
            options.threads,
            watch.progress,
            watch.cooler,
            options.provider,
        )
        give_back()
    read = np.bincount(extracted.store.labels, minlength=len(dataset.classes))
    missing = [name for row, name in enumerate(dataset.classes) if not read[row]]
    if missing:
        job.tell(f"nothing is learned of {first_names(missing)}: none of the images can be read")
    known = start.generation.meta.classes
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
    train_rows, held_rows = split_holdout(labels, extracted.store.marks)
    samples = Samples(extracted.store, start.codec, labels, train_rows)
    held_out = Holdout(extracted.store.read(held_rows), labels[held_rows])
    with meter.phase("import"):
        spare_bytes = spare_step_bytes(bundle.manifest, job.settings.batch_size, job.pattern_samples)
        engine = make_engine(job.engine, bundle, options.threads, spare_bytes, job.pattern_samples > 0)
    strategy = _strategy(job, start)
    with meter.phase("train"):
        trained = _train(job, start, watch, engine, strategy, samples, held_out)
    engine.rest()  # before samples are read to judge the head by
    with meter.phase("gate"):
        judgement, accuracy = judge_new_head(
            engine,
            (trained.earlier, trained.own),
            start.classes,
            start.known_classes,
            (engine.logits(samples.read(train_rows[:FORWARD_BATCH])), trained.loss),
            options.max_forgetting,
        )
        holdout = start.holdout.extended(held_out.features, held_out.labels)
        random = start.random(options.seed, _STREAM_BUFFER)
        offered = extracted.store.read, train_rows, labels[train_rows]
        buffer = fill(start.buffer, *offered, job.buffer_limit, random, options.buffer_fill)
    return Candidate(engine, strategy, extracted, trained, judgement, accuracy, holdout, buffer)


def _strategy(job: Job, start: StartingPoint) -> Strategy:
    """The strategy, with what it kept of earlier tasks."""
    settings = job.settings
    own = Settings(settings.beta, settings.ratio, settings.buffer_samples)
    strategy = STRATEGIES[settings.strategy](start.bundle.manifest.head, own)
    strategy.restore(part_of(start.generation.strategy_state, strategy.part))
    return strategy


def _train(
    job: Job,
    start: StartingPoint,
    watch: Watch,
    engine: Engine,
    strategy: Strategy,
    samples: Samples,
    held_out: Holdout,
) -> Trained:
    before, capacity = start.generation, start.bundle.manifest.head.capacity
    engine.load(before.parameters)
    earlier = Reference.of(earlier_samples(start.holdout, start.buffer, start.codec), engine, capacity)
    new_rows = range(start.known_classes, len(start.classes))
    row_scale = start_new_rows(engine, samples, new_rows, before.meta.row_scale)
    own = Reference.of(own_samples(held_out, samples, start.codec), engine, capacity)
    loop = TrainingLoop(
        engine,
        strategy,
        job.settings,
        samples,
        start.buffer,
        TensorFile(start.bundle.path(HEAD_PARAMETERS), BundleError),
        partial(start.random, job.options.seed, _STREAM_ORDER),
        Checkpoints(job.state.work, checkpoint_key(job, start)),
        watch.progress,
        watch.cooler,
    )
    loss, resumed = loop.run(before.meta.tasks, len(start.classes))
    return Trained(earlier, own, held_out, loss, resumed, row_scale)
