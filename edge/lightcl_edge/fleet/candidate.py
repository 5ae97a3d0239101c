"""The classifier after a merge, in closed form from all sums, judged by the gate like that of a task."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.data.sums import Sums
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import StateError
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.closed_form.classifier import Fit, fitted, with_scores
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import choose_engine, make_engine
from lightcl_edge.learning.forgetting import without_row
from lightcl_edge.learning.gate import refuse_broken, refuse_forgetting
from lightcl_edge.learning.judging import (
    HeldOutResult,
    Judgement,
    JudgingSamples,
    earlier_samples,
    earlier_samples_with_features,
    judge,
)
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.class_rows import assign_rows
from lightcl_edge.learning.taps import with_exported_samples
from lightcl_edge.state.change import Change
from lightcl_edge.state.generation import Generation, Meta

#: Strategies whose classifier is in closed form alone; after a merge, the others' gives way to the first of these.
_CLOSED_FORM = ("slda", "ncm")


@dataclass(frozen=True)
class Base:
    """What a merge starts from.

    Attributes:
        exported: the bundle's own classes and head.
        threads: None for all processors that this process may use.
    """

    bundle: Bundle
    generation: Generation
    exported: Generation
    threads: int | None

    @cached_property
    def engine(self) -> Engine:
        """Runs heads, first the one that was exported. Most merges need none, and no time to load it."""
        engine = make_engine(choose_engine("auto", self.bundle), self.bundle, self.threads, 0, False)
        engine.load(self.exported.parameters)
        return engine

    def close(self) -> None:
        if "engine" in vars(self):
            self.engine.close()


def base_of(bundle: Bundle, generation: Generation, exported: Generation, threads: int | None) -> Base:
    """The generation, with the sums of the samples that the bundle brought."""
    base = Base(bundle, generation, exported, threads)
    if all(name in generation.sums.classes for name in exported.meta.classes):
        return base
    identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
    buffer = FeatureBuffer.from_tensors(generation.buffer, identity)
    sums = with_exported_samples(generation.sums, base.engine, buffer, exported.meta.classes)
    base.close()
    return replace(base, generation=replace(generation, sums=sums))


@dataclass(frozen=True)
class Candidate:
    """A generation that the gate accepted, still without its number."""

    generation: Generation
    judgement: Judgement
    new_classes: Sequence[str]


def commit(change: Change, bundle: Bundle, found: Candidate, images: int) -> Meta:
    """Make a candidate the state's generation; an interrupted task ends, because it began from another one."""
    state, before = change.state, change.state.current_number()
    meta = replace(
        found.generation.meta,
        generation=state.next_number(),
        parent=before,
        created=time.time(),
        bundle_identity=bundle.identity,
        images=images,
        renumbered_from=None,
    )
    final = change.commit(replace(found.generation, meta=meta))
    change.end_task()
    return final


def candidate(base: Base, sums: Sums, max_forgetting: float) -> Candidate:
    """The generation with other sums.

    Raises:
        ClassifierFullError: when there are more classes than rows.
        StateError: when the bundle brought classes of which nobody has a sample.
        RejectedError: when the gate keeps the old classifier.
    """
    bundle, old = base.bundle, base.generation
    kept = [name for name in old.meta.classes if name in sums.classes or name not in old.sums.classes]
    left = old
    for name in set(old.meta.classes) - set(kept):
        left = without_row(left, name, bundle)[0]
    names = assign_rows(kept, sorted(sums.classes), bundle.manifest.head.capacity)
    if unsampled := [name for name in names if name not in sums.classes]:
        raise StateError(
            f"the bundle brought {unsampled[:4]} without a sample, so no classifier of them and of others' classes can "
            "be made; export with --seed-buffer, or teach them here first"
        )
    holdout = Holdout.from_tensors(left.holdout, tuple(bundle.manifest.feature.shape), sums.size)
    strategy = old.meta.strategy if old.meta.strategy in _CLOSED_FORM else _CLOSED_FORM[0]
    classifier = _classifier(sums, names, STRATEGIES[strategy].fit, holdout)
    judgement, tested = _judge(base, left, classifier, names, len(kept), max_forgetting)
    meta = replace(
        left.meta,
        classes=names,
        strategy=strategy,
        holdout_accuracy=tested.accuracy,
        holdout_right=tested.right,
        holdout_images=tested.images,
    )
    parameters = base.exported.parameters  # the trained head counts no more
    generation = replace(left, meta=meta, parameters=parameters, sums=sums, classifier=classifier.tensors())
    return Candidate(generation, judgement, names[len(kept) :])


def _classifier(sums: Sums, names: Sequence[str], fit: Fit, holdout: Holdout) -> LearnedClassifier:
    """In closed form alone: a head that this board trained knows nothing of what others taught."""
    taps = holdout.taps.astype(np.float32)
    form = fitted(sums, names, sums.pooled(names), fit, (taps, holdout.labels))
    return with_scores(form.classifier(1.0, 0.0), taps, holdout.labels, form)


def _judge(
    base: Base, left: Generation, new: LearnedClassifier, names: Sequence[str], known: int, max_forgetting: float
) -> tuple[Judgement, HeldOutResult]:
    """The gate: earlier classes must not lose too much. Gives how held-out samples fare too."""
    old = classifier_of(base.generation)
    columns = [base.generation.meta.classes.index(name) for name in names[:known]]
    samples = _samples(base, left, old)
    engine = base.engine if old.needs_head else None
    if engine is not None:
        engine.load(base.generation.parameters)
    before, after = samples.logits(old, engine)[:, columns], samples.logits(new, engine)
    judgement = judge(names, known, samples.labels, before, after, samples.held_out)
    refuse_broken([after], judgement)
    refuse_forgetting(judgement, max_forgetting)
    labels = samples.labels[: samples.held_out]
    return judgement, HeldOutResult.of(after[: samples.held_out].argmax(axis=1) == labels, labels)


def _samples(base: Base, left: Generation, old: LearnedClassifier) -> JudgingSamples:
    """Of the classes known before; the engine holds the head as exported."""
    info = base.bundle.manifest.feature
    holdout = Holdout.from_tensors(left.holdout, tuple(info.shape), left.sums.size)
    if not old.needs_head:
        return earlier_samples(holdout, left.sums, left.meta.classes, {})
    buffer = FeatureBuffer.from_tensors(left.buffer, BufferIdentity(base.bundle.sha256(TRUNK), info))
    return earlier_samples_with_features(holdout, buffer, FeatureCodec(info), base.engine)
