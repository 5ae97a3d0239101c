"""The first stage of a task: what is learned, how, and whether it fits this machine. Nothing is written yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import BUFFER, TRUNK, Bundle
from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.class_names import check_class_names
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.data.feature_buffer import BufferIdentity, buffer_limit
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.learning.engines.select import EngineChoice, choose_engine
from lightcl_edge.learning.judging import JUDGED_PER_CLASS
from lightcl_edge.learning.options import TrainOptions
from lightcl_edge.learning.strategies.choice import (
    StrategyChoice,
    choose_strategy,
    crowd_of,
    plan_for,
    planned_patterns,
)
from lightcl_edge.learning.strategies.class_rows import assign_rows
from lightcl_edge.machine import memory_limits
from lightcl_edge.planning.plan import Carried, Crowd, Plan
from lightcl_edge.planning.refusal import refuse_what_does_not_fit
from lightcl_edge.state.generation import Meta
from lightcl_edge.state.state import State


@dataclass(frozen=True)
class Job:
    """What a task is to do."""

    options: TrainOptions
    state: State
    dataset: Dataset
    engine: EngineChoice
    strategy: StrategyChoice
    settings: TrainingDefaults  # the user's numbers, else the bundle's or the strategy's
    ignored: list[str]  # options that the strategy does not use
    pattern_samples: int  # of each step
    buffer: BufferIdentity  # of the feature buffer
    buffer_limit: int  # samples that it may hold
    plan: Plan
    allowed_bytes: int
    progress: Progress
    notes: list[str] = field(default_factory=list)  # what a person was told on the way

    def tell(self, note: str) -> None:
        self.notes.append(note)
        self.progress.note(note)


def decide(options: TrainOptions, state: State, bundle: Bundle, progress: Progress) -> Job:
    """Choose engine, strategy and settings, and refuse a task that does not fit.

    Raises:
        LightclError: when an option, the data or the predicted memory is not usable.
    """
    manifest, is_new = bundle.manifest, not state.exists()
    number = 0 if is_new else state.current_number()
    learned = state.meta(number) if number else None
    engine = choose_engine(options.engine, bundle)
    buffer = BufferIdentity(bundle.sha256(TRUNK), manifest.feature)
    dataset = open_dataset(options.data) if isinstance(options.data, str) else options.data
    check_class_names(dataset.classes)
    images = len(dataset)
    limit = buffer_limit(options.buffer_size, buffer)
    kept_bytes = 0 if is_new else state.kept_bytes()
    sample_bytes = buffer.sample_bytes
    buffer_bytes = min(limit * sample_bytes, kept_bytes + images * sample_bytes)
    carried = Carried(kept_bytes, buffer_bytes, sum(entry.bytes for entry in manifest.files) if is_new else 0)
    crowd = _crowd(learned, bundle, dataset, buffer_bytes // sample_bytes)
    budget = options.memory_budget_bytes
    asked = options.strategy or manifest.defaults.strategy
    strategy = choose_strategy(asked, _classes_without_samples(learned, bundle, dataset.classes))
    settings = options.settings(manifest.defaults, strategy.name)
    if ignored := options.ignored(strategy.name):
        progress.note(f"strategy {strategy.name} does not use {', '.join(ignored)}")
    patterns = planned_patterns(strategy.name, settings)
    needs = strategy.name, manifest, engine.name, settings.batch_size, patterns, images, carried, crowd
    plan = plan_for(*needs)
    if plan.peak_bytes > memory_limits.allowed_bytes(budget):
        plan = plan_for(*needs, quick_steps=False)
    allowed_bytes = refuse_what_does_not_fit(plan, budget, _nearest_folder(options.state))
    dataset.memory_limit_bytes = allowed_bytes
    if is_new:
        assign_rows(manifest.classes, dataset.classes, manifest.head.capacity)
    job = Job(
        options,
        state,
        dataset,
        engine,
        strategy,
        settings,
        ignored,
        patterns,
        buffer,
        limit,
        plan,
        allowed_bytes,
        progress,
    )
    for note in dataset.all_notes():
        job.tell(note)
    return job


def _crowd(meta: Meta | None, bundle: Bundle, dataset: Dataset, remembered: int) -> Crowd:
    """The classes and samples that meet in the task; ``meta`` is of what was learned before."""
    known = meta.classes if meta else bundle.manifest.classes
    taught = [max(count, JUDGED_PER_CLASS) for count in meta.images_by_class] if meta else None
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes)).tolist()
    return crowd_of(counts, len({*known, *dataset.classes}), len(known), remembered, taught)


def _classes_without_samples(meta: Meta | None, bundle: Bundle, taught: Sequence[str]) -> list[str]:
    """Classes that the bundle brought without any sample of them, except those that this task teaches."""
    if bundle.has(BUFFER):
        return []
    names = list(bundle.manifest.classes)
    if meta is not None:
        names = [name for name, count in zip(meta.classes, meta.images_by_class, strict=True) if not count]
    return [name for name in names if name not in taught]


def _nearest_folder(path: Path) -> Path:
    """The path, or the first folder above it that exists: its disk is where the state will be."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
