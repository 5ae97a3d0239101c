"""One task: images to features, training of the head, the gate, the commit."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lightcl_edge.bundle import Bundle
from lightcl_edge.checkpoint import Checkpoints
from lightcl_edge.classifier import BIAS, WEIGHT, assign_rows, class_means, start_rows
from lightcl_edge.console import Document, Progress
from lightcl_edge.engines.contract import Engine, FloatArray
from lightcl_edge.engines.select import EngineChoice, choose_engine, make_engine
from lightcl_edge.errors import InterruptedTaskError, LightclError, UsageError
from lightcl_edge.extraction import Extracted, dataset_fingerprint, extract
from lightcl_edge.features import FeatureCodec
from lightcl_edge.gate import (
    DEFAULT_MAX_FORGETTING,
    Holdout,
    accuracy,
    refuse_broken,
    refuse_forgetting,
    refuse_harm,
    split_holdout,
)
from lightcl_edge.generation import REMEMBERED_TASKS, Generation, Meta
from lightcl_edge.images import Dataset, open_dataset
from lightcl_edge.interrupts import DeferredInterrupt
from lightcl_edge.manifest import TrainingDefaults
from lightcl_edge.memory import PhaseMeter, give_back
from lightcl_edge.planner import plan_training, refuse_what_does_not_fit
from lightcl_edge.state import State, bundle_for
from lightcl_edge.strategies import make_strategy
from lightcl_edge.strategies.contract import Settings
from lightcl_edge.training_loop import FORWARD_BATCH, Samples, TrainingLoop, parts

#: Streams of random numbers, apart from each other whatever the seed.
_STREAM_HOLDOUT, _STREAM_ORDER = 1, 2


@dataclass(frozen=True)
class TrainOptions:
    """What a user asks for; None takes the bundle's default.

    Attributes:
        bundle: path of the bundle; None once the state has its own copy.
        state: path of the state directory.
        data: specification of the task's images.
        strategy: name.
        engine: ``auto``, ``ort`` or ``torch``.
        epochs: passes over the features.
        batch_size: samples a step.
        learning_rate: of plain SGD.
        beta: weight of the pattern term.
        ratio: share of channels a task marks.
        buffer_samples: samples that carry patterns.
        seed: of all random choices.
        threads: processors; None for all this process may use.
        memory_budget_bytes: refuse a plan above this; None for what the machine has.
        max_forgetting: largest allowed loss of held-out accuracy on earlier classes; 1 allows any.
    """

    bundle: Path | None
    state: Path
    data: str
    strategy: str | None = None
    engine: str = "auto"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    beta: float | None = None
    ratio: float | None = None
    buffer_samples: int | None = None
    seed: int = 0
    threads: int | None = None
    memory_budget_bytes: int | None = None
    max_forgetting: float = DEFAULT_MAX_FORGETTING

    def settings(self, defaults: TrainingDefaults) -> TrainingDefaults:
        """The bundle's defaults with what the user set.

        Args:
            defaults: of the bundle.

        Returns:
            What the task is trained with.

        Raises:
            UsageError: when a number is out of its range.
        """
        names = ("strategy", "epochs", "batch_size", "learning_rate", "beta", "ratio", "buffer_samples")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        settings = replace(defaults, **chosen)
        allowed = {
            "epochs": (settings.epochs >= 1, "1 or more"),
            "batch_size": (settings.batch_size >= 1, "1 or more"),
            "learning_rate": (0 < settings.learning_rate < math.inf, "a number above 0"),
            "beta": (0 <= settings.beta < math.inf, "0 or more"),
            "ratio": (0 <= settings.ratio <= 1, "0 to 1"),
            "buffer_samples": (settings.buffer_samples >= 0, "0 or more"),
            "max_forgetting": (0 <= self.max_forgetting <= 1, "0 to 1"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (fine, expected) in allowed.items():
            if not fine:
                found = getattr(settings, name, getattr(self, name))
                raise UsageError(f"{name.replace('_', ' ')} is {found}, expected {expected}")
        return settings


def train(options: TrainOptions, meter: PhaseMeter, progress: Progress) -> Document:
    """Learn one task and commit it as a new generation.

    Args:
        options: what to do.
        meter: measures the phases.
        progress: shows how far it is.

    Returns:
        The document of ``train --json``.

    Raises:
        LightclError: of the kinds that ``docs/exit-codes.md`` lists; the state is then as it was.
    """
    started = time.perf_counter()
    state = State(options.state)
    bundle = bundle_for(state, options.bundle)
    dataset = open_dataset(options.data)
    settings = options.settings(bundle.manifest.defaults)
    choice = choose_engine(options.engine, bundle)
    plan = plan_training(bundle.manifest, choice.name, settings.batch_size, settings.buffer_samples, len(dataset))
    existing = next(
        folder for folder in (options.state.absolute(), *options.state.absolute().parents) if folder.exists()
    )
    refuse_what_does_not_fit(plan, options.memory_budget_bytes, existing)
    if not state.exists():
        assign_rows(bundle.manifest.classes, dataset.classes, bundle.manifest.head.capacity)
    made = state.create()
    with state.lock():
        if not state.exists() or state.bundle().identity != bundle.identity:
            try:
                bundle = _install(state, bundle, options.threads, meter)
            except BaseException:
                if made:
                    state.remove()
                raise
        run = _Run(options, settings, choice, state, bundle, dataset, meter, progress)
        document = run.learn()
    return {
        **document,
        "bytes_written": state.written().last_task_bytes,
        "plan": plan.document(),
        "peak_rss_bytes": meter.peak_rss_bytes,
        "phases": [asdict(record) for record in meter.records],
        "seconds": time.perf_counter() - started,
    }


def _install(state: State, bundle: Bundle, threads: int | None, meter: PhaseMeter) -> Bundle:
    """First use: does this machine get the host's features? Then keep a copy."""
    from lightcl_edge.trunk import check_golden

    with meter.phase("install"):
        check_golden(bundle, threads)
        give_back()
        bundle.head_parameters()
        state.install_bundle(bundle)
        give_back()
    return state.bundle()


class _Run:
    """The phases of one task, in order."""

    def __init__(
        self,
        options: TrainOptions,
        settings: TrainingDefaults,
        choice: EngineChoice,
        state: State,
        bundle: Bundle,
        dataset: Dataset,
        meter: PhaseMeter,
        progress: Progress,
    ) -> None:
        self._options, self._settings, self._choice = options, settings, choice
        self._state, self._bundle, self._dataset = state, bundle, dataset
        self._meter, self._progress = meter, progress
        self._codec = FeatureCodec(bundle.manifest.feature)
        self._old = state.read()
        self._earlier = Holdout.from_tensors(self._old.holdout, self._codec.shape)
        self._number = state.next_number()
        self._source = dataset_fingerprint(dataset)
        head = bundle.manifest.head
        self._classes = assign_rows(self._old.meta.classes, dataset.classes, head.capacity)
        self._strategy = make_strategy(
            settings.strategy, head, Settings(settings.beta, settings.ratio, settings.buffer_samples)
        )
        self._strategy.restore(self._old.strategy_state)

    def learn(self) -> Document:
        """Extract, train, judge, commit."""
        try:
            return self._learn()
        except KeyboardInterrupt:
            kept = (self._state.work / "checkpoint.json").exists()
            where = "from where it stopped" if kept else "from the beginning, no training step was done yet"
            raise InterruptedTaskError(
                f"interrupted; what was learned before is unchanged. The same command goes on {where}"
            ) from None
        except LightclError as error:
            self._state.note("not learned", kind=error.kind, bytes_written=self._state.end_task())
            raise

    def _learn(self) -> Document:
        with self._meter.phase("extract"):
            extracted = extract(
                self._bundle,
                self._dataset,
                self._state.work / "features",
                self._options.threads,
                self._progress,
            )
            give_back()
        labels = np.array([self._classes.index(name) for name in self._dataset.classes])[extracted.store.labels]
        train_rows, held_rows = split_holdout(labels, self._rng(_STREAM_HOLDOUT))
        with self._meter.phase("import"):
            engine = make_engine(self._choice, self._bundle, self._options.threads)
        checkpoints = Checkpoints(self._state.work, self._key())
        samples = Samples(extracted.store, self._codec, labels, train_rows)
        with self._meter.phase("train"):
            row_scale, before = self._start_head(engine, samples)
            held_out = Holdout(extracted.store.read(held_rows), labels[held_rows])
            untrained = accuracy(self._logits(engine, held_out), held_out.labels, len(self._classes))
            loop = TrainingLoop(
                engine, self._strategy, self._settings, samples, self._order, checkpoints, self._progress
            )
            loss, resumed = loop.run(self._old.meta.tasks, len(self._classes))
        with self._meter.phase("gate"):
            probe = engine.logits(samples.read(train_rows[:FORWARD_BATCH]))
            refuse_broken(engine.views(), probe, loss)
            trained = accuracy(self._logits(engine, held_out), held_out.labels, len(self._classes))
            refuse_harm(untrained, trained, len(held_rows))
            holdout, held_out_accuracy = self._judge(engine, held_out, before)
        # A signal that comes now waits: the answer must say what really was committed.
        with DeferredInterrupt(), self._meter.phase("commit"):
            facts = {"holdout_accuracy": held_out_accuracy, "row_scale": row_scale, "images": len(labels)}
            meta = self._commit(engine, holdout, facts)
        engine.close()
        return self._document(meta, extracted, loss, resumed)

    def _rng(self, *stream: int) -> np.random.Generator:
        """Random numbers that depend on seed, parent and stream alone, so that a resumed run repeats them."""
        return np.random.default_rng([self._options.seed, self._old.meta.generation + 1, *stream])

    def _key(self) -> str:
        """Equal for equal runs from equal states: then a checkpoint fits."""
        about = {
            "bundle": self._bundle.identity,
            "from": self._old.meta.generation,
            "data": self._source,
            "settings": asdict(self._settings),
            "seed": self._options.seed,
            "engine": self._choice.name,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _order(self, epoch: int) -> np.random.Generator:
        return self._rng(_STREAM_ORDER, epoch)

    def _start_head(self, engine: Engine, samples: Samples) -> tuple[float | None, float | None]:
        """Load the old head with rows for the new classes at their class means.

        Args:
            engine: takes the parameters.
            samples: of the task.

        Returns:
            The scale of rows from now on (None while no class was ever added), and the old head's accuracy on
            earlier classes' held-out samples (None while there are none).
        """
        old = self._old.meta
        engine.load(self._old.parameters)
        before = accuracy(self._logits(engine, self._earlier), self._earlier.labels, len(old.classes))
        new = list(range(len(old.classes), len(self._classes)))
        if not new:
            return old.row_scale, before
        chosen = samples.rows[np.isin(samples.labels[samples.rows], new)]
        means, suggested = class_means(samples.penultimate(engine, chosen), samples.labels[chosen], new)
        scale = old.row_scale or suggested
        classifier = {name: np.array(self._old.parameters[name]) for name in (WEIGHT, BIAS)}
        start_rows(classifier, new, means, scale)
        engine.load(ChainMap(classifier, self._old.parameters))  # type: ignore[arg-type]  # only read from
        return scale, before

    def _judge(self, engine: Engine, held_out: Holdout, before: float | None) -> tuple[Holdout, float | None]:
        """Compare old and new on held-out features of earlier classes.

        Args:
            engine: holds the new head.
            held_out: of this task.
            before: the old head's accuracy on earlier classes.

        Returns:
            All held-out samples from now on, and the new head's accuracy on them.

        Raises:
            RejectedError: when the new head is not to be used.
        """
        known = len(self._classes)
        after = accuracy(self._logits(engine, self._earlier), self._earlier.labels, known)
        refuse_forgetting(before, after, len(self._earlier.labels), self._options.max_forgetting)
        holdout = self._earlier.extended(held_out.features, held_out.labels)
        return holdout, accuracy(self._logits(engine, holdout), holdout.labels, known)

    def _logits(self, engine: Engine, holdout: Holdout) -> FloatArray:
        rows = np.arange(len(holdout.labels))
        logits = [engine.logits(self._codec.decode(holdout.features[part])) for part in parts(rows)]
        return np.concatenate(logits) if logits else np.empty((0, self._bundle.manifest.head.capacity), np.float32)

    def _commit(self, engine: Engine, holdout: Holdout, facts: Mapping[str, Any]) -> Meta:
        """Write the new generation; the running task is then over."""
        old = self._old.meta
        meta = Meta(
            generation=self._number,
            created=time.time(),
            parent=old.generation,
            bundle_identity=self._bundle.identity,
            classes=self._classes,
            strategy=self._strategy.name,
            engine=self._choice.name,
            engine_reason=self._choice.reason,
            tasks=old.tasks + 1,
            sources=[*old.sources, self._source][-REMEMBERED_TASKS:],
            **facts,
        )
        final = self._state.commit(Generation(meta, engine.views(), self._strategy.memory(), holdout.tensors()))
        self._state.end_task()
        return final

    def _document(self, meta: Meta, extracted: Extracted, loss: float, resumed: bool) -> Document:
        known = len(self._old.meta.classes)
        return {
            "generation": meta.generation,
            "engine": self._choice.name,
            "engine_reason": self._choice.reason,
            "strategy": self._strategy.name,
            "classes": meta.classes,
            "new_classes": meta.classes[known:],
            "images": meta.images,
            "skipped_images": len(extracted.skipped),
            "skipped": extracted.skipped[:20],
            "epochs": self._settings.epochs,
            "loss": loss,
            "holdout_accuracy": meta.holdout_accuracy,
            "resumed": resumed,
        }
