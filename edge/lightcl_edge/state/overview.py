"""What a state holds and how it came to it, as records: for ``status``, ``history`` and the API."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.text import Document
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import BundleError, StateError
from lightcl_edge.machine.health import Health, look
from lightcl_edge.state import journal
from lightcl_edge.state.board import read_board
from lightcl_edge.state.generation import Meta
from lightcl_edge.state.state import State
from lightcl_edge.state.sums_files import check_sums
from lightcl_edge.state.updates import Updates, read_updates
from lightcl_edge.state.work import has_interrupted_task
from lightcl_edge.state.written_bytes import read_written

#: How many of the newest events are told.
EVENTS = 20


@dataclass(frozen=True)
class BundleSummary:
    """Which bundle a state belongs to; ``identity`` is the SHA-256 of its manifest."""

    model: str
    cut: str
    trunk_dtype: str
    identity: str


@dataclass(frozen=True)
class Kept:
    """Samples that a generation keeps, and their size."""

    samples: int
    bytes: int


@dataclass(frozen=True)
class BoardSummary:
    """What another board taught: its version that was taken in, and images by class."""

    board: str
    version: int
    images_by_class: dict[str, int]


@dataclass(frozen=True)
class Status:
    """What a state holds.

    Attributes:
        generation: in use; 0 is the bundle as exported.
        images_by_class: in the sums of each class; 0 where the bundle brought it and nothing was learned.
        capacity: how many classes the classifier has rows for.
        strategy: of the last task, with ``engine``, ``engine_device`` and ``trunk_provider``; None before the first.
        tasks: how many were learned.
        holdout_accuracy: 0 to 1; None when nothing is held out yet.
        interrupted_task: whether a task waits to be gone on with.
        board: what other boards call this one; None before it shared or took in anything.
        boards: whose knowledge was taken in.
        updates: bundles that came over the air.
    """

    generation: int
    classes: list[str]
    images_by_class: dict[str, int]
    capacity: int
    bundle: BundleSummary
    strategy: str | None
    engine: str | None
    engine_reason: str | None
    engine_device: str | None
    trunk_provider: str | None
    tasks: int
    holdout_accuracy: float | None
    buffer: Kept
    held_out: Kept
    bytes_written_total: int
    bytes_written_last_task: int
    bytes_written_running_task: int
    interrupted_task: bool
    health: Health
    board: str | None = None
    boards: list[BoardSummary] = field(default_factory=list)
    updates: Updates = field(default_factory=Updates)


def status_of(state: State) -> Status:
    """Read the current generation. Raises StateError when there is no state or it is damaged."""
    bundle = state.bundle()
    generation = state.read(bundle=bundle)
    meta, model = generation.meta, bundle.manifest.model
    features, held_out = (part.get("features") for part in (generation.buffer, generation.holdout))
    written = read_written(state.folder)
    return Status(
        generation=meta.generation,
        classes=meta.classes,
        images_by_class=dict(zip(meta.classes, meta.images_by_class, strict=True)),
        capacity=bundle.manifest.head.capacity,
        bundle=BundleSummary(model.name, model.cut, model.trunk_dtype, bundle.identity),
        strategy=meta.strategy,
        engine=meta.engine,
        engine_reason=meta.engine_reason,
        engine_device=meta.engine_device,
        trunk_provider=meta.trunk_provider,
        tasks=meta.tasks,
        holdout_accuracy=meta.holdout_accuracy,
        buffer=Kept(0 if features is None else len(features), FeatureBuffer.bytes_of(generation.buffer)),
        held_out=Kept(
            0 if held_out is None else len(held_out), sum(int(part.nbytes) for part in generation.holdout.values())
        ),
        bytes_written_total=written.total_bytes,
        bytes_written_last_task=written.last_task_bytes,
        bytes_written_running_task=written.task_bytes,
        interrupted_task=has_interrupted_task(state),
        health=look(),
        board=read_board(state.folder).name,
        boards=_boards(generation.sums),
        updates=read_updates(state.folder),
    )


def _boards(sums: Sums) -> list[BoardSummary]:
    return [
        BoardSummary(board, share.version, {name: part.count for name, part in sums.of_board(board).items()})
        for board, share in sorted(sums.boards.items())
    ]


@dataclass(frozen=True)
class GenerationSummary:
    """A generation to which one can go back.

    Attributes:
        created: seconds since 1970.
        parent: the generation it was learned from.
        images: learned in its task.
        renumbered_from: its number before a class was forgotten.
        problem: what is damaged; None when it is whole.
    """

    generation: int
    created: float
    parent: int
    classes: list[str]
    holdout_accuracy: float | None
    strategy: str | None
    engine: str | None
    images: int
    renumbered_from: int | None
    problem: str | None


@dataclass(frozen=True)
class History:
    """The generations that are kept, oldest first, and the newest events.

    Attributes:
        current: the generation in use.
        exported_classes: how many classes generation 0 has; None where it is damaged.
        events: each with ``time`` (seconds since 1970), ``event`` and details.
    """

    current: int
    exported_classes: int | None
    generations: list[GenerationSummary]
    events: list[Document]


def history_of(state: State) -> History:
    """Check the files of every generation. Raises StateError when there is no state."""
    bundle, current = state.bundle(), state.current_number()
    return History(
        current,
        _exported_classes(state, bundle),
        [_summary(state, number, bundle) for number in state.numbers()],
        journal.read(state.folder, EVENTS),
    )


def _exported_classes(state: State, bundle: Bundle) -> int | None:
    try:
        return len(state.read(0, bundle).meta.classes)
    except (BundleError, StateError):
        return None


def _summary(state: State, number: int, bundle: Bundle) -> GenerationSummary:
    """What is known of a generation, damaged or not."""
    problem = None
    meta = Meta(number, 0.0, "", [])
    try:
        meta = state.meta(number)
        check_sums(state.read(number, bundle).sums)
    except StateError as error:
        problem = str(error)
    return GenerationSummary(
        generation=number,
        created=meta.created,
        parent=meta.parent,
        classes=meta.classes,
        holdout_accuracy=meta.holdout_accuracy,
        strategy=meta.strategy,
        engine=meta.engine,
        images=meta.images,
        renumbered_from=meta.renumbered_from,
        problem=problem,
    )
