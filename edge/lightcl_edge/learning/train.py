"""One task, in three stages: decide, learn, commit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from lightcl_edge.bundle.signature import read_public_key
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.errors import InterruptedTaskError, LightclError
from lightcl_edge.learning.checkpoint import NOTE
from lightcl_edge.learning.commit import commit
from lightcl_edge.learning.decide import Job, decide
from lightcl_edge.learning.kept import Kept
from lightcl_edge.learning.learn import Candidate, Watch, images_to_features, learn
from lightcl_edge.learning.options import TrainOptions
from lightcl_edge.learning.starting_point import Beginning, StartingPoint, begin, starting_point
from lightcl_edge.machine.cooling import Cooler
from lightcl_edge.machine.interrupts import DeferredInterrupt
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_edge.state.bundle_choice import bundle_for
from lightcl_edge.state.change import Change, changing
from lightcl_edge.state.state import State
from lightcl_edge.state.work import begin_task

#: Unreadable images that the document names one by one.
_NAMED_IMAGES = 20


def train(
    options: TrainOptions,
    meter: PhaseMeter,
    progress: Progress,
    state: State | None = None,
    kept: Kept | None = None,
) -> Document:
    """Learn one task and commit it as a new generation.

    Args:
        state: that of the options, where the process has it already.
        kept: from the last task; None keeps nothing.

    Raises:
        LightclError: of the kinds that ``docs/reference/exit-codes.md`` lists; the state is then as it was.
    """
    started = time.perf_counter()
    watch = Watch(meter, progress, Cooler(options.cool_at_celsius, progress.note))
    state = state or State(options.state)
    chosen = bundle_for(state, options.bundle, read_public_key(options.key) if options.key else None)
    job = decide(options, state, chosen.bundle, progress)
    with changing(state, create=True) as change:
        begun = begin(job, change, chosen, meter, kept or Kept())
        del chosen  # an unpacked .lclb goes with it, from a disk that may be memory
        with _running(change, begun):
            extracted, begun = images_to_features(job, begun, watch)
            start = starting_point(job, begun)
            candidate = learn(job, start, extracted, watch)
            # A signal that comes now waits: the answer must say what really was committed.
            with DeferredInterrupt() as late, meter.phase("commit"):
                commit(job, start, candidate, change)
            if start.kept.engine is not candidate.engine:
                candidate.engine.close()
    return {
        **_what_was_learned(job, start, candidate),
        "bytes_written": change.written.last_task_bytes,
        "interrupted": late.asked,
        "health": watch.cooler.document(),
        "peak_rss_bytes": meter.peak_rss_bytes,
        "phases": [asdict(record) for record in meter.records],
        "seconds": time.perf_counter() - started,
    }


def foresee(options: TrainOptions, progress: Progress) -> Document:
    """What a task would do and need. Nothing is written.

    Raises:
        LightclError: as :func:`train` would before it starts.
    """
    state = State(options.state)
    chosen = bundle_for(state, options.bundle, read_public_key(options.key) if options.key else None)
    job = decide(options, state, chosen.bundle, progress)
    return {
        "classes": job.dataset.classes,
        "images": len(job.dataset),
        "strategy": job.strategy.name,
        "strategy_reason": job.strategy.reason,
        "engine": job.engine.name,
        "engine_reason": job.engine.reason,
        "plan": job.plan.document(),
        "allowed_bytes": job.allowed_bytes,
    }


@contextmanager
def _running(change: Change, start: Beginning) -> Iterator[None]:
    """The time in which the task runs: an interrupt leaves its checkpoint, an error ends it."""
    state = change.state
    begin_task(state, start.meta.generation)
    try:
        yield
    except KeyboardInterrupt:
        kept = (state.work / NOTE).exists()
        where = "from where it stopped" if kept else "from the beginning, no training step was done yet"
        raise InterruptedTaskError(
            f"interrupted; what was learned before is unchanged. The same command goes on {where}"
        ) from None
    except LightclError as error:
        change.note("not learned", kind=error.kind, bytes_written=change.end_task())
        raise


def _what_was_learned(job: Job, start: StartingPoint, candidate: Candidate) -> Document:
    extracted, trained, engine = candidate.extracted, candidate.trained, candidate.engine
    return {
        "generation": start.next_number,
        "classes": start.classes,
        "new_classes": start.classes[start.known_classes :],
        "images": len(extracted.store.labels),
        "skipped_images": len(extracted.skipped),
        "skipped": extracted.skipped[:_NAMED_IMAGES],
        "engine": job.engine.name,
        "engine_reason": job.engine.reason,
        "engine_device": engine.device,
        "engine_device_reason": engine.device_reason,
        "trunk_provider": asdict(extracted.provider) if extracted.provider else None,
        "strategy": candidate.strategy.name,
        "strategy_reason": job.strategy.reason,
        "ignored": job.ignored,
        "epochs": job.settings.epochs if candidate.strategy.trains_head else 0,
        "loss": trained.loss,
        "resumed": trained.resumed,
        "holdout_accuracy": candidate.tested.accuracy,
        "holdout_right": candidate.tested.right,
        "holdout_images": candidate.tested.images,
        "images_by_class": {name: trained.sums.counts.get(name, 0) for name in start.classes},
        "per_class": candidate.judgement.document(),
        "buffer": {"samples": len(candidate.buffer), "bytes": candidate.buffer.bytes},
        "plan": job.plan.document(),
        "allowed_bytes": job.allowed_bytes,
        "left_out": left_out.document() if (left_out := job.dataset.left_out) else None,
        "warnings": candidate.warnings,
        "notes": job.notes,
    }
