"""The third stage of a task: the accepted head becomes the state's new generation."""

import time
from dataclasses import replace

from lightcl_edge.learning.decide import Job
from lightcl_edge.learning.learn import Candidate
from lightcl_edge.learning.starting_point import StartingPoint
from lightcl_edge.learning.strategies.strategy_state import joined
from lightcl_edge.state.change import Change
from lightcl_edge.state.generation import REMEMBERED_TASKS, Generation, Meta


def commit(job: Job, start: StartingPoint, candidate: Candidate, change: Change) -> Meta:
    """Write the new generation, which ends the running task. When the disk fails, the old generation stays."""
    before, provider = start.generation.meta, candidate.extracted.provider
    meta = Meta(
        generation=start.next_number,
        created=time.time(),
        parent=before.generation,
        bundle_identity=start.bundle.identity,
        classes=start.classes,
        strategy=candidate.strategy.name,
        engine=job.engine.name,
        engine_reason=job.engine.reason,
        engine_device=candidate.engine.device,
        trunk_provider=provider.name if provider else None,
        tasks=before.tasks + 1,
        images=len(candidate.extracted.store.labels),
        holdout_accuracy=candidate.tested.accuracy,
        holdout_right=candidate.tested.right,
        holdout_images=candidate.tested.images,
        row_scale=candidate.trained.row_scale,
        grey_range=job.dataset.grey_range,
        sources=[*before.sources, start.data.fingerprint][-REMEMBERED_TASKS:],
    )
    kept = joined(start.generation.strategy_state, candidate.strategy)
    generation = Generation(
        meta=meta,
        # without a step it is the bundle's own head, which is linked and not written
        parameters=candidate.engine.views() if candidate.strategy.trains_head else start.exported.parameters,
        strategy_state=kept,
        holdout=candidate.holdout.tensors(),
        sums=candidate.trained.sums,
        buffer=candidate.buffer.tensors(),
        classifier=candidate.trained.classifier.tensors(),
    )
    final = change.commit(generation)
    change.end_task()
    as_exported = before.generation == 0 or not start.classifier.needs_head
    trained = candidate.trained
    engine = candidate.engine if as_exported and not candidate.strategy.trains_head else None
    start.kept.keep(job.state, replace(generation, meta=final), trained.classifier, engine, trained.pooled)
    return final
