"""Whether a new head may replace the old one. Every refusal is a RejectedError with the figures in its message."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import RejectedError
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.learning.doubts import Lookalike, contradictions, lookalikes
from lightcl_edge.learning.judging import (
    HeldOutResult,
    Judgement,
    Reference,
    accuracy,
    judge,
)

#: Loss of accuracy on earlier classes, among themselves, that is accepted unless the user says otherwise.
DEFAULT_MAX_FORGETTING = 0.2
#: What may be lost beyond that when new classes compete too.
MORE_FORGETTING_AMONG_ALL = 0.3
#: Training may not lower the accuracy on the task's own classes by more than this.
HARM_LIMIT = 0.25
#: No head is refused for so few samples that turned wrong, unless no loss at all is allowed.
CHANCE_SAMPLES = 2
#: The labels contradict the old head when more than this share of the samples of known classes do.
CONTRADICTION_SHARE = 0.5
#: Fewer samples of known classes than this say nothing about the labels.
CONTRADICTION_SAMPLES = 5
#: With so many held-out samples of earlier classes, these decide and not the contradictions.
ENOUGH_HELD_OUT = 10
#: Wrong labels, whatever is held out: of so many samples of a known class more than this share surely shows another.
MIXED_SAMPLES, MIXED_SHARE = 10, 0.4
#: A single class may not lose so many samples, and more than may be lost among all classes.
COLLAPSE_SAMPLES = 4


def with_new_classes(judgement: Judgement, known: int, labels: IntArray, logits: FloatArray) -> Judgement:
    """The judgement with the classes that the old classifier did not know, on the task's held-out samples.

    Args:
        known: the old classifier knew the first so many classes.
        labels: rows of the samples, shape ``(n,)``.
        logits: the new classifier's, shape ``(n, classes)``.
    """
    own = judge(judgement.classes, 0, labels, logits[:, :0], logits)
    new = np.arange(len(judgement.classes)) >= known
    return replace(
        judgement,
        images=np.where(new, own.images, judgement.images),
        learned=np.where(new, own.learned, judgement.learned),
        after=np.where(new, own.after, judgement.after),
    )


def judge_candidate(
    references: tuple[Reference, Reference],
    after: tuple[FloatArray, FloatArray],
    untrained: FloatArray | None,
    fresh: NDArray[np.bool_],
    classes: Sequence[str],
    known_before: int,
    limit: float,
) -> tuple[Judgement, HeldOutResult]:
    """Compare the classifier after the task with the one before.

    Args:
        references: samples of earlier classes, and samples of this task.
        after: the new classifier's logits of both, shape ``(n, classes)``.
        untrained: logits of the task's samples before the first step; None when there was no step.
        fresh: which of the task's held-out samples are not among the earlier ones, shape ``(n,)``.
        classes: names in row order; the old classifier knew the first ``known_before`` of them.
        limit: the largest allowed forgetting, 0 to 1; 1 allows anything.

    Returns:
        The comparison, and how the new classifier does on held-out samples.
    """
    (earlier, own), (on_earlier, on_own) = references, after
    old, new = earlier.samples, own.samples
    judgement = judge(classes, known_before, old.labels, earlier.logits, on_earlier, old.held_out)
    refuse_broken(after, judgement)
    if untrained is not None:
        refuse_harm(accuracy(untrained, new.labels), accuracy(on_own, new.labels), len(new.labels), limit, judgement)
    refuse_forgetting(judgement, limit)
    refuse_contradiction(contradictions(own.logits, new.labels, known_before), old.held_out, limit, judgement)
    refuse_mixed(lookalikes(own.logits, own.unknown, new.labels), known_before, limit, judgement)
    held = slice(new.held_out)
    labels = np.concatenate([old.labels[: old.held_out], new.labels[held][fresh]])
    found = np.concatenate([on_earlier[: old.held_out].argmax(axis=1), on_own[held][fresh].argmax(axis=1)])
    judgement = with_new_classes(judgement, known_before, new.labels[held], on_own[held])
    return judgement, HeldOutResult.of(found == labels, labels)


def refuse_broken(logits: Sequence[FloatArray], judgement: Judgement | None = None) -> None:
    """Keep the old classifier when the new one gives numbers that are not finite."""
    if not all(np.isfinite([part.min(initial=0.0), part.max(initial=0.0)]).all() for part in logits):
        message = (
            "the new classifier gives logits that are not finite; the old head stays. Check the images, and verify the "
            "bundle: lightcl-edge verify"
        )
        raise _rejected(message, judgement)


def _fell(before: float, after: float, lost: float, limit: float) -> bool:
    """Whether more than ``limit`` was lost, and by more samples than may turn wrong by chance."""
    return before - after > limit and lost > (CHANCE_SAMPLES + 0.5 if limit > 0 else 0.5)  # of whole samples


def refuse_harm(
    before: float | None, after: float | None, samples: int, limit: float, judgement: Judgement | None = None
) -> None:
    """Keep the old head when training made the task's own classes harder to tell apart than they were.

    Args:
        before: accuracy on the task's own samples before the first step; None when there are none.
        after: the same after the last step.
        samples: how many there are.
        limit: of forgetting; 1 allows anything.
    """
    if limit >= 1 or before is None or after is None:
        return
    if _fell(before, after, (before - after) * samples, HARM_LIMIT):
        raise _rejected(
            f"accuracy on this task's own classes fell from {before:.1%} (before the first step) to "
            f"{after:.1%}; the old head stays. Check the labels, or take --strategy slda or ncm, which make no steps",
            judgement,
        )


def refuse_forgetting(judgement: Judgement, limit: float) -> None:
    """Keep the old head when earlier classes lost more than allowed.

    Accuracy is the mean over classes. Two losses count. Among the earlier classes alone the choice did not get harder,
    so a loss is forgetting. It may be ``limit``. Among all classes there are more to choose from: there
    ``limit + MORE_FORGETTING_AMONG_ALL`` may be lost.

    Args:
        limit: the largest allowed loss, 0 to 1; 1 allows any.
    """
    known = ~np.isnan(judgement.before)
    if limit >= 1 or not known.any():
        return
    before = float(judgement.before[known].mean())
    for values, allowed, where in (
        (judgement.among_earlier, limit, "among themselves"),
        (judgement.after, limit + MORE_FORGETTING_AMONG_ALL, "among all classes"),
    ):
        after = float(values[known].mean())
        lost = float(((judgement.before - values) * judgement.images)[known].sum())
        if _fell(before, after, lost, allowed):
            raise _rejected(
                f"accuracy on earlier classes fell from {before:.1%} to {after:.1%} {where}, "
                f"allowed is a loss of {allowed:.1%} (--max-forgetting {limit:g}); the old head stays. "
                "Check the labels, or allow more",
                judgement,
            )
    _refuse_collapse(judgement, limit + MORE_FORGETTING_AMONG_ALL)


def _refuse_collapse(judgement: Judgement, allowed: float) -> None:
    """Keep the old head when one class is lost, which the mean over many classes hides."""
    fell = np.nan_to_num(judgement.before - judgement.after)
    worst = int(np.argmax(fell))
    if fell[worst] > allowed and fell[worst] * judgement.images[worst] > COLLAPSE_SAMPLES - 0.5:
        raise _rejected(
            f"{judgement.classes[worst]} fell from {judgement.before[worst]:.1%} to {judgement.after[worst]:.1%}, "
            f"allowed for one class is a loss of {allowed:.1%}; the old head stays. Check whether the new images show "
            f"{judgement.classes[worst]}, or allow more (--max-forgetting)",
            judgement,
        )


def refuse_mixed(found: Sequence[Lookalike], known: int, limit: float, judgement: Judgement) -> None:
    """Keep the old head when many images of a known class surely show another one: a folder was mixed up.

    Held-out samples of earlier classes do not show it: what is remembered of them outweighs a first mistake.

    Args:
        known: the old head knew so many classes.
        limit: the largest allowed loss; 1 allows anything.
    """
    for each in found:
        enough = each.row < known and each.judged >= MIXED_SAMPLES
        if enough and limit < 1 and each.images > MIXED_SHARE * each.judged:
            raise _rejected(
                f"{each.text(judgement.classes)}, and the old head is sure of it; the old head stays. "
                "Check the labels; if they are right, accept them with --max-forgetting 1",
                judgement,
            )


def refuse_contradiction(found: tuple[int, int], held_out: int, limit: float, judgement: Judgement) -> None:
    """Keep the old head when the labels contradict it and too few held-out samples could tell who is right.

    A head that remembers its samples by heart gets them right even when everything else about it is ruined. With
    enough held-out samples of earlier classes these decide: then a person may correct a head that was surely wrong.

    Args:
        found: the counts of :func:`contradictions`.
        held_out: samples of earlier classes that were never trained on.
        limit: the largest allowed loss; 1 allows anything.
    """
    surely_wrong, samples = found
    if limit >= 1 or held_out >= ENOUGH_HELD_OUT or samples < CONTRADICTION_SAMPLES:
        return
    if surely_wrong > CONTRADICTION_SHARE * samples:
        raise _rejected(
            f"the labels contradict what was learned: what was known before is sure that {surely_wrong} of "
            f"{samples} images of known classes show another class, and only {held_out} held-out images could tell who "
            "is right; the old head stays. Check the labels; if they are right, accept them with --max-forgetting 1",
            judgement,
        )


def _rejected(message: str, judgement: Judgement | None) -> RejectedError:
    """The refusal with its table of classes."""
    if judgement is None:
        return RejectedError(message)
    table_of_classes = f"\n\n{judgement.text()}" if judgement.images.any() else ""
    return RejectedError(f"{message}{table_of_classes}", {"per_class": judgement.document()})
