"""What the device knows before a task. It is read once, when the state is locked."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.class_names import nearly_equal
from lightcl_edge.data.dataset import DatasetIdentity, identify
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.grey_range import GreyRange
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import StateChangedError
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.decide import Job
from lightcl_edge.learning.kept import Kept
from lightcl_edge.learning.lesson import Known
from lightcl_edge.learning.strategies.class_rows import assign_rows
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_edge.state.bundle_choice import ChosenBundle
from lightcl_edge.state.change import Change
from lightcl_edge.state.exported_classes import base_generation, base_meta
from lightcl_edge.state.generation import Generation, Meta
from lightcl_edge.state.trust import remember_trust


@dataclass(frozen=True)
class Beginning:
    """What a task needs to know before its images are features."""

    bundle: Bundle  # the state's own copy
    meta: Meta  # of the generation before the task
    next_number: int  # of the generation that the task makes
    classes: list[str]  # after the task, in row order
    data: DatasetIdentity
    kept: Kept


@dataclass(frozen=True)
class StartingPoint(Beginning):
    """What the device knows before a task, and what the task adds to it."""

    codec: FeatureCodec
    generation: Generation
    exported: Generation  # the bundle's own classes and head, as generation 0 has them
    classifier: LearnedClassifier  # of the generation, without its novelty terms
    holdout: Holdout  # of earlier tasks
    buffer: FeatureBuffer

    @property
    def known(self) -> Known:
        """What the task's lesson needs of it."""
        meta = self.generation.meta
        return Known(
            len(meta.classes),
            self.classifier,
            self.generation.parameters,
            self.exported.parameters,
            len(self.exported.meta.classes),
            self.buffer,
            meta.row_scale,
            meta.tasks,
        )

    @property
    def known_classes(self) -> int:
        """How many classes the device knew before the task."""
        return len(self.generation.meta.classes)

    def random(self, seed: int, *stream: int) -> np.random.Generator:
        """Random numbers that depend on seed, generation and stream alone, so that a resumed run repeats them."""
        return np.random.default_rng([seed, self.generation.meta.generation + 1, *stream])


def begin(job: Job, change: Change, chosen: ChosenBundle, meter: PhaseMeter, kept: Kept) -> Beginning:
    """Install the bundle in a new state, and look at the current generation's record.

    Raises:
        StateChangedError: when the state is not at the generation that the user expects.
        LightclError: when the bundle computes other results here, the record is damaged, or a class has no row.
    """
    state, expected = job.state, job.options.from_generation
    number = state.current_number() if state.exists() else 0
    if expected is not None and number != expected:
        raise StateChangedError(
            f"the state at {state.folder} is at generation {number}, expected {expected}: it was changed by another "
            "process in the meantime; look at it and start again"
        )
    bundle = _own_copy(job, change, chosen.bundle, meter)
    remember_trust(state.folder, chosen.trust, bundle, chosen.signature)
    kept.check(state, number, bundle)
    meta, next_number = state.meta(number) if number else base_meta(state.folder, bundle), state.next_number()
    classes = assign_rows(meta.classes, job.dataset.classes, bundle.manifest.head.capacity)
    _settle_grey(job, meta.grey_range)
    for new, other in nearly_equal(classes[len(meta.classes) :], classes):
        job.tell(f"{new!r} and {other!r} are two classes; if they are one, call them the same and forget one of them")
    return Beginning(bundle, meta, next_number, classes, identify(job.dataset), kept)


def starting_point(job: Job, begun: Beginning) -> StartingPoint:
    """Read the current generation. While images become features its samples would only take memory.

    Raises:
        StateError: when it is damaged.
    """
    bundle, kept, state = begun.bundle, begun.kept, job.state
    generation = kept.generation or state.read(begun.meta.generation, bundle)
    classifier = kept.classifier or classifier_of(generation, scores=False)
    generation = replace(generation, classifier={})  # its packed matrix
    exported = replace(base_generation(state.folder, bundle), buffer={})
    codec = FeatureCodec(bundle.manifest.feature)
    return StartingPoint(
        bundle=bundle,
        meta=begun.meta,
        next_number=begun.next_number,
        classes=begun.classes,
        data=begun.data,
        kept=kept,
        codec=codec,
        generation=generation,
        exported=exported,
        classifier=classifier,
        holdout=Holdout.from_tensors(generation.holdout, codec.shape, generation.sums.size),
        buffer=FeatureBuffer.from_tensors(generation.buffer, job.buffer),
    )


def _own_copy(job: Job, change: Change, bundle: Bundle, meter: PhaseMeter) -> Bundle:
    """The state's copy of the bundle. Before the first task: check that this machine gets the host's features, copy."""
    state = job.state
    if state.bundle_identity() == bundle.identity:
        return bundle if bundle.folder == state.bundle_folder else state.own_bundle()
    from lightcl_edge.inference.golden import check_golden

    with meter.phase("install"):
        check_golden(bundle, job.options.threads, job.options.provider)
        give_back()
        change.install_bundle(bundle)
        give_back()
    return state.own_bundle()


def _settle_grey(job: Job, known: GreyRange | None) -> None:
    """The range of grey that the state has, or that its first images of more than 8 bits decide."""
    found = known or job.dataset.survey_grey()
    job.dataset.grey_range = found
    if known is None and found is not None:
        job.tell(
            f"images of more than 8 bits: {found[0]:.6g} becomes black and {found[1]:.6g} white, from now on in "
            "this state"
        )


def checkpoint_key(job: Job, start: StartingPoint) -> str:
    """Equal for equal tasks from equal states: then a checkpoint of one fits the other."""
    about = {
        "bundle": start.bundle.identity,
        "from": start.generation.meta.generation,
        "data": start.data.fingerprint,
        "settings": asdict(job.settings),
        "seed": job.options.seed,
        "engine": job.engine.name,
        "buffer": [job.buffer_limit, job.options.buffer_fill],
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
