"""One task: images to features, training of the head, the gate, the commit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from lightcl_edge.bundle.bundle import HEAD_PARAMETERS, TRUNK, Bundle
from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.bundle.signature import read_public_key
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.class_names import check_class_names
from lightcl_edge.data.dataset import Dataset, identify
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer, buffer_limit
from lightcl_edge.data.feature_store import FeatureStore
from lightcl_edge.data.held_out_samples import Holdout, split_holdout
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import BundleError, InterruptedTaskError, LightclError, StateError
from lightcl_edge.files.tensors import FloatArray, IntArray, TensorFile
from lightcl_edge.inference.extraction import Extracted, extract
from lightcl_edge.learning.checkpoint import Checkpoints
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import EngineChoice, choose_engine, make_engine
from lightcl_edge.learning.gate import refuse_broken, refuse_contradiction, refuse_forgetting, refuse_harm
from lightcl_edge.learning.judging import (
    Judgement,
    Witnesses,
    accuracy,
    contradictions,
    earlier_witnesses,
    judge,
    own_witnesses,
)
from lightcl_edge.learning.loop import Samples, TrainingLoop, start_new_rows
from lightcl_edge.learning.options import TrainOptions
from lightcl_edge.learning.strategies import make_strategy
from lightcl_edge.learning.strategies.choice import choose_strategy, plan_for, planned_patterns
from lightcl_edge.learning.strategies.class_rows import assign_rows
from lightcl_edge.learning.strategies.contract import Settings
from lightcl_edge.learning.strategies.forward import FORWARD_BATCH
from lightcl_edge.learning.strategies.strategy_state import joined, part_of
from lightcl_edge.machine.cooling import Cooler
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.machine.interrupts import DeferredInterrupt
from lightcl_edge.machine.memory import PhaseMeter
from lightcl_edge.planning.ort import spare_step_bytes
from lightcl_edge.planning.plan import Carried
from lightcl_edge.planning.refusal import refuse_what_does_not_fit
from lightcl_edge.state.bundle_choice import bundle_for
from lightcl_edge.state.change import Change, changing
from lightcl_edge.state.generation import REMEMBERED_TASKS, Generation, Meta
from lightcl_edge.state.state import State
from lightcl_edge.state.trust import remember_trust
from lightcl_edge.state.work import begin_task

#: Streams of random numbers, apart from each other whatever the seed.
_STREAM_ORDER, _STREAM_BUFFER = 2, 3


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
    cooler = Cooler(options.cool_at_celsius, progress.note)
    state = State(options.state)
    key = read_public_key(options.key) if options.key else None
    bundle, trust = bundle_for(state, options.bundle, key)
    dataset = open_dataset(options.data) if isinstance(options.data, str) else options.data
    check_class_names(dataset.classes)
    choice = choose_engine(options.engine, bundle)
    defaults = bundle.manifest.defaults
    asked = options.strategy or defaults.strategy
    carried = _carried(state, bundle, options, len(dataset))
    replay = options.settings(defaults, "replay")
    strategy = choose_strategy(asked, bundle.manifest, choice.name, options.memory_budget_bytes, carried, replay)
    settings = options.settings(defaults, strategy.name)
    if ignored := options.ignored(strategy.name):
        progress.note(f"strategy {strategy.name} does not use {', '.join(ignored)}")
    sizes = settings.batch_size, planned_patterns(strategy.name, settings), len(dataset)
    plan = plan_for(strategy.name, bundle.manifest, choice.name, *sizes, carried)
    existing = next(
        folder for folder in (options.state.absolute(), *options.state.absolute().parents) if folder.exists()
    )
    allowed = refuse_what_does_not_fit(plan, options.memory_budget_bytes, existing)
    dataset.memory_limit_bytes = allowed
    if not state.exists():
        assign_rows(bundle.manifest.classes, dataset.classes, bundle.manifest.head.capacity)
    with changing(state, create=True) as change:
        _check_generation(state, options.from_generation)
        if not state.exists() or state.own_bundle().identity != bundle.identity:
            bundle = _install(change, bundle, options, meter)
        remember_trust(state.folder, trust, bundle, options.bundle)
        run = _Run(options, settings, choice, change, bundle, dataset, meter, progress, cooler)
        document = run.learn()
    return {
        **document,
        "bytes_written": change.written.last_task_bytes,
        "strategy_reason": strategy.reason,
        "ignored": ignored,
        "plan": plan.document(),
        "allowed_bytes": allowed,
        "health": cooler.document(),
        "peak_rss_bytes": meter.peak_rss_bytes,
        "phases": [asdict(record) for record in meter.records],
        "seconds": time.perf_counter() - started,
    }


def _carried(state: State, bundle: Bundle, options: TrainOptions, images: int) -> Carried:
    """What the plan must count besides the bundle."""
    identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
    limit = buffer_limit(options.buffer_size, identity)
    kept = state.kept_bytes() if state.exists() else 0
    memory = min(limit * identity.sample_bytes, kept + images * identity.sample_bytes)
    return Carried(kept, memory, 0 if state.exists() else sum(entry.bytes for entry in bundle.manifest.files))


def _check_generation(state: State, expected: int | None) -> None:
    """Refuse to learn on top of what the caller has not seen."""
    found = state.current_number() if state.exists() else 0
    if expected is not None and found != expected:
        raise StateError(
            f"the state at {state.folder} is at generation {found}, expected {expected}: it was changed by another "
            "process in the meantime; look at it and start again"
        )


def _install(change: Change, bundle: Bundle, options: TrainOptions, meter: PhaseMeter) -> Bundle:
    """First use: does this machine get the host's features? Then keep a copy."""
    from lightcl_edge.inference.golden import check_golden

    with meter.phase("install"):
        check_golden(bundle, options.threads, options.provider)
        give_back()
        bundle.head_parameters()
        change.install_bundle(bundle)
        give_back()
    return change.state.own_bundle()


class _Run:
    """The phases of one task, in order."""

    def __init__(
        self,
        options: TrainOptions,
        settings: TrainingDefaults,
        choice: EngineChoice,
        change: Change,
        bundle: Bundle,
        dataset: Dataset,
        meter: PhaseMeter,
        progress: Progress,
        cooler: Cooler,
    ) -> None:
        self._options, self._settings, self._choice = options, settings, choice
        self._change, self._state, self._bundle, self._dataset = change, change.state, bundle, dataset
        self._meter, self._progress, self._cooler = meter, progress, cooler
        self._codec = FeatureCodec(bundle.manifest.feature)
        self._capacity = bundle.manifest.head.capacity
        self._old = self._state.read()
        self._earlier = Holdout.from_tensors(self._old.holdout, self._codec.shape)
        self._number = self._state.next_number()
        self._identity = identify(dataset)
        self._source = self._identity.fingerprint
        head = bundle.manifest.head
        self._classes = assign_rows(self._old.meta.classes, dataset.classes, head.capacity)
        self._strategy = make_strategy(
            settings.strategy, head, Settings(settings.beta, settings.ratio, settings.buffer_samples)
        )
        self._strategy.restore(part_of(self._old.strategy_state, self._strategy.part))
        identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
        self._buffer_limit = buffer_limit(options.buffer_size, identity)
        self._buffer = FeatureBuffer.from_tensors(self._old.buffer, identity)

    def learn(self) -> Document:
        """Extract, train, judge, commit."""
        begin_task(self._state, self._old.meta.generation)
        try:
            return self._learn()
        except KeyboardInterrupt:
            kept = (self._state.work / "checkpoint.json").exists()
            where = "from where it stopped" if kept else "from the beginning, no training step was done yet"
            raise InterruptedTaskError(
                f"interrupted; what was learned before is unchanged. The same command goes on {where}"
            ) from None
        except LightclError as error:
            self._change.note("not learned", kind=error.kind, bytes_written=self._change.end_task())
            raise

    def _learn(self) -> Document:
        with self._meter.phase("extract"):
            extracted = extract(
                self._bundle,
                self._dataset,
                self._identity,
                self._state.work / "features",
                self._options.threads,
                self._progress,
                self._cooler,
                self._options.provider,
            )
            give_back()
        labels = np.array([self._classes.index(name) for name in self._dataset.classes])[extracted.store.labels]
        train_rows, held_rows = split_holdout(labels, extracted.store.marks)
        with self._meter.phase("import"):
            patterns = planned_patterns(self._strategy.name, self._settings)
            spare = spare_step_bytes(self._bundle.manifest, self._settings.batch_size, patterns)
            engine = make_engine(self._choice, self._bundle, self._options.threads, spare, patterns > 0)
        checkpoints = Checkpoints(self._state.work, self._key())
        samples = Samples(extracted.store, self._codec, labels, train_rows)
        with self._meter.phase("train"):
            engine.load(self._old.parameters)
            witnesses = earlier_witnesses(self._earlier, self._buffer, self._codec)
            before = witnesses.logits(engine, self._capacity)
            new_rows = range(len(self._old.meta.classes), len(self._classes))
            row_scale = start_new_rows(engine, samples, new_rows, self._old.meta.row_scale)
            held_out = Holdout(extracted.store.read(held_rows), labels[held_rows])
            own = own_witnesses(held_out, samples, self._codec)
            untrained = own.logits(engine, self._capacity)
            exported = TensorFile(self._bundle.path(HEAD_PARAMETERS), BundleError)
            loop = TrainingLoop(
                engine,
                self._strategy,
                self._settings,
                samples,
                self._buffer,
                exported,
                self._order,
                checkpoints,
                self._progress,
                self._cooler,
            )
            loss, resumed = loop.run(self._old.meta.tasks, len(self._classes))
        engine.rest()  # before samples are read to be judged by
        with self._meter.phase("gate"):
            probe = engine.logits(samples.read(train_rows[:FORWARD_BATCH]))
            judged = (witnesses, before), (own, untrained)
            judgement, held_out_accuracy = self._judge(engine, *judged, (probe, loss))
            holdout = self._earlier.extended(held_out.features, held_out.labels)
            buffer = self._filled(extracted.store, labels, train_rows)
        # A signal that comes now waits: the answer must say what really was committed.
        with DeferredInterrupt(), self._meter.phase("commit"):
            facts = {
                "holdout_accuracy": held_out_accuracy,
                "row_scale": row_scale,
                "images": len(labels),
                "trunk_provider": extracted.provider.name if extracted.provider else None,
            }
            meta = self._commit(engine, holdout, buffer, facts)
        engine.close()
        document = self._document(meta, engine, extracted, loss, resumed)
        memory = {"samples": len(buffer), "bytes": buffer.bytes}
        return {**document, "per_class": judgement.document(), "buffer": memory}

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
            "buffer": [self._buffer_limit, self._options.buffer_fill],
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _order(self, epoch: int) -> np.random.Generator:
        return self._rng(_STREAM_ORDER, epoch)

    def _judge(
        self,
        engine: Engine,
        earlier: tuple[Witnesses, FloatArray],
        own: tuple[Witnesses, FloatArray],
        signs: tuple[FloatArray, float],
    ) -> tuple[Judgement, float | None]:
        """Compare old and new.

        Args:
            engine: holds the new head.
            earlier: samples of the classes known before, and the old head's logits for them.
            own: samples of this task, and the logits for them before the first step.
            signs: logits of a few training samples and the last loss: whether numbers still are numbers.

        Returns:
            The comparison class by class, and the new head's accuracy on all held-out samples.

        Raises:
            RejectedError: when the new head is not to be used.
        """
        known, (old, before), (new, untrained) = len(self._classes), earlier, own
        after, learned = old.logits(engine, self._capacity), new.logits(engine, self._capacity)
        judgement = judge(self._classes, len(self._old.meta.classes), old.labels, before, after)
        refuse_broken(engine.views(), *signs, judgement)
        first, last = (accuracy(logits, new.labels, known) for logits in (untrained, learned))
        refuse_harm(first, last, len(new.labels), self._options.max_forgetting, judgement)
        refuse_forgetting(judgement, self._options.max_forgetting)
        contradicted = contradictions(untrained, new.labels, len(self._old.meta.classes))
        refuse_contradiction(contradicted, old.held_out, self._options.max_forgetting, judgement)
        logits = np.concatenate([after[: old.held_out], learned[: new.held_out]])
        labels = np.concatenate([old.labels[: old.held_out], new.labels[: new.held_out]])
        return judgement, accuracy(logits, labels, known)

    def _filled(self, store: FeatureStore, labels: IntArray, rows: IntArray) -> FeatureBuffer:
        """The long-term memory with this task's training samples."""
        rng, kind = self._rng(_STREAM_BUFFER), self._options.buffer_fill
        return fill(self._buffer, store.read, rows, labels[rows], self._buffer_limit, rng, kind)

    def _commit(self, engine: Engine, holdout: Holdout, buffer: FeatureBuffer, facts: Mapping[str, Any]) -> Meta:
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
            engine_device=engine.device,
            tasks=old.tasks + 1,
            sources=[*old.sources, self._source][-REMEMBERED_TASKS:],
            **facts,
        )
        kept = joined(self._old.strategy_state, self._strategy)
        final = self._change.commit(Generation(meta, engine.views(), kept, holdout.tensors(), buffer.tensors()))
        self._change.end_task()
        return final

    def _document(self, meta: Meta, engine: Engine, extracted: Extracted, loss: float, resumed: bool) -> Document:
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
            "epochs": self._settings.epochs if self._strategy.trains_head else 0,
            "loss": loss,
            "holdout_accuracy": meta.holdout_accuracy,
            "resumed": resumed,
            "trunk_provider": asdict(extracted.provider) if extracted.provider else None,
            "engine_device": engine.device,
            "engine_device_reason": engine.device_reason,
        }
