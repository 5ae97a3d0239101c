"""Erase a class from everything a state keeps: its row, its samples, its statistics, its name.

A number always means the same content, so no generation is changed. Each is written anew without the class, under a
new number. Then ``CURRENT`` moves and the old ones are removed. ``STATE/FORGET`` notes it: after a power cut the next
command that locks the state finishes the erasure, or clears what was begun if ``CURRENT`` had not moved.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.console.text import Document
from lightcl_edge.data.class_names import canonical
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.data.held_out_samples import Holdout
from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.durable import fsync_folder, rename
from lightcl_edge.files.tensors import Tensors
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.inference.trial import on_trial
from lightcl_edge.learning.closed_form.classifier import fitted, with_scores
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.strategy_state import forget_row
from lightcl_edge.machine.blas import one_blas_thread
from lightcl_edge.state.board import read_board
from lightcl_edge.state.change import Change
from lightcl_edge.state.exported_classes import HeadWithout
from lightcl_edge.state.forgetting import finish_forgetting, note_forgetting
from lightcl_edge.state.generation import Generation
from lightcl_edge.state.generation_files import write_generation
from lightcl_edge.state.pointer import Pointer, write_pointer
from lightcl_edge.state.state import State
from lightcl_edge.state.sums_files import class_hash, mended
from lightcl_edge.state.work import has_interrupted_task


def _concerned(state: State, bundle: Bundle, name: str) -> tuple[list[int], list[int]]:
    """The whole generations of the bundle in use, and all that know the class; raises as :func:`forget`.

    Those of a bundle that was in use before are not rewritten but dropped.
    """
    current = state.current_number()
    numbers = [number for number in state.numbers() if state.is_whole(number, bundle)]
    if current:
        state.read(current, bundle)
    known = [number for number in numbers if name in state.meta(number).classes]
    if not known and name not in state.read(0, bundle).meta.classes:
        classes = state.read(current, bundle).meta.classes
        raise UsageError(f"no class {name!r} in any generation of {state.folder}; the current one knows {classes}")
    return [number for number in numbers if state.bundle_folder_of(number) == bundle.folder], known


def foresee(state: State, name: str) -> Document:
    """What :func:`forget` would erase. Nothing is changed, and no lock is needed. Raises as :func:`forget`."""
    bundle, name = state.bundle(), canonical(name)
    _, known = _concerned(state, bundle, name)
    read = [(state.read(number, bundle), state.bundle_of(number, bundle)) for number in [*known, 0]]
    current = state.read(bundle=bundle)
    damaged = mended(current.sums.forget(name))[1] if name in current.meta.classes else []
    return {
        "class": name,
        "generation": current.meta.generation,
        "classes": [other for other in current.meta.classes if other not in (name, *damaged)],
        "damaged_classes": damaged,
        "generations_rewritten": len(known),
        "samples_erased": max(without_row(each, name, own)[1] for each, own in read if name in each.meta.classes),
        "interrupted_task": has_interrupted_task(state),
    }


def forget(change: Change, name: str, erasures: int | None = None) -> Document:
    """Erase a class.

    Args:
        erasures: how often other boards know it to be erased; None where this board erases it once more.

    Raises:
        UsageError: when no generation knows the class.
        StateError: when the current generation is damaged, or its bundle is on trial: going back would bring the class
            back. Other damaged ones are dropped: they may hold samples.
    """
    state, name = change.state, canonical(name)
    if trial := on_trial(state):
        raise StateError(
            f"the bundle of offer {trial.number} has not predicted yet, and going back would bring the class back; run "
            "lightcl-edge predict once, or lightcl-edge rollback, and forget the class then"
        )
    bundle, current = state.bundle(), state.current_number()
    numbers, known = _concerned(state, bundle, name)
    before = state.read(current, bundle).meta.classes
    change.end_task()  # features of an interrupted task may be of this class
    renamed, erased = _rewrite(state, bundle, name, numbers if known else [], known)
    # If only the bundle knows the class, no generation gets another number: the note alone says what to erase.
    note_forgetting(state, name, min(renamed.values(), default=0), erasures or _erasures(state, name) + 1)
    if renamed:
        write_pointer(state.folder, Pointer(renamed.get(current, 0), max(renamed.values())))
    erased = max(erased, finish_forgetting(state))
    classes = state.read().meta.classes
    return {
        "class": name,
        "generation": state.current_number(),
        "classes": classes,
        "damaged_classes": [other for other in before if other not in classes and other != name],
        "generations_rewritten": len(known),
        "samples_erased": erased,
        "renumbered": {str(old): new for old, new in renamed.items()},
    }


def _erasures(state: State, name: str) -> int:
    """How often the class was erased before. A damaged record of this board must not be in the way of erasing."""
    with suppress(StateError):
        return read_board(state.folder).erased.get(class_hash(name), 0)
    return 0


def _rewrite(
    state: State, bundle: Bundle, name: str, numbers: list[int], known: list[int]
) -> tuple[dict[int, int], int]:
    """Write generations anew, without the class and under new numbers."""
    first, erased = state.next_number() if numbers else 0, 0
    renamed = {number: first + place for place, number in enumerate(numbers)}
    for number in numbers:
        generation = _renumbered(state.read(number, bundle), renamed)
        if number in known:
            generation, samples = without_class(generation, name, bundle)
            erased = max(erased, samples)
        aside = state.place(renamed[number]).with_suffix(".new")
        write_generation(aside, generation)
        rename(aside, state.place(renamed[number]))
    if numbers:
        fsync_folder(state.generations)
    return renamed, erased


def _renumbered(generation: Generation, renamed: Mapping[int, int]) -> Generation:
    meta = generation.meta
    was = meta.generation
    parent = renamed.get(meta.parent, 0)
    return replace(generation, meta=replace(meta, generation=renamed[was], parent=parent, renumbered_from=was))


def without_class(generation: Generation, name: str, bundle: Bundle) -> tuple[Generation, int]:
    """A generation as if it had never been shown a class, except for the weights that steps have changed.

    Rows in closed form are computed anew from what is left. A class whose sums are damaged would be in the way, and has
    to be taught again in any case. So it is erased as well. The second result is how many samples were erased.
    """
    sums, damaged = mended(generation.sums.forget(name))
    left, erased = replace(generation, sums=sums), 0
    for each in [name, *damaged]:
        left, samples = without_row(left, each, bundle)
        erased += samples
    return replace(left, classifier=_classifier_of(left, generation, bundle)), erased


def without_row(generation: Generation, name: str, bundle: Bundle) -> tuple[Generation, int]:
    """All but the classifier: a class's row is gone, later rows move one down, the last one is zero and free again."""
    meta, head = generation.meta, bundle.manifest.head
    row, classes = meta.classes.index(name), [known for known in meta.classes if known != name]
    identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
    buffer = FeatureBuffer.from_tensors(generation.buffer, identity)
    before = Holdout.from_tensors(generation.holdout, tuple(bundle.manifest.feature.shape), head.tap_size)
    left, holdout = buffer.forget(row), before.forget(row)
    return (
        Generation(
            meta=replace(
                meta,
                classes=classes,
                holdout_accuracy=None,
                holdout_right=0,
                holdout_images=0,
                sources=[],  # any of them may have taught the class: shown again, it is to be learned again
            ),
            parameters=HeadWithout(generation.parameters, row),
            strategy_state=forget_row(generation.strategy_state, head, row),
            holdout=holdout.tensors() if generation.holdout else {},
            sums=generation.sums.forget(name),
            buffer=left.tensors() if generation.buffer else {},
        ),
        len(before.labels) - len(holdout.labels) + len(buffer) - len(left),
    )


@one_blas_thread()
def _classifier_of(left: Generation, generation: Generation, bundle: Bundle) -> Tensors:
    """The classifier of the classes that are left of a generation.

    Where the head counts, its share and the temperature stay: a new one would need the head's logits.
    """
    classes, sums = left.meta.classes, left.sums
    if not generation.classifier or not classes:
        return {}
    before = LearnedClassifier.from_tensors(generation.classifier, len(generation.meta.classes), sums.size)
    strategy = STRATEGIES.get(generation.meta.strategy or "")
    if strategy is None or not before.tells_unknown or not set(classes) <= set(sums.classes):
        gone = LearnedClassifier.of_head(len(classes), sums.size)
        return replace(gone, temperature=before.temperature).tensors()
    holdout = Holdout.from_tensors(left.holdout, tuple(bundle.manifest.feature.shape), sums.size)
    taps = holdout.taps.astype(np.float32)
    form = fitted(sums, classes, sums.pooled(classes), strategy.fit, (taps, holdout.labels))
    if before.needs_head:
        share = 1.0 / form.temperature if before.closed_form_share else 0.0
        found = replace(form.classifier(share, before.head_share), temperature=before.temperature)
    else:
        found = form.classifier(1.0, 0.0)
    return with_scores(found, taps, holdout.labels, form).tensors()
