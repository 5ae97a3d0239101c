"""Whether a new head may replace the old one, judged on the samples of :mod:`lightcl_edge.learning.judging`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lightcl_edge.errors import RejectedError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.learning.judging import (
    CONTRADICTION_SAMPLES,
    CONTRADICTION_SHARE,
    ENOUGH_HELD_OUT,
    Judgement,
)

#: Largest loss of held-out accuracy on earlier classes, among themselves, that is accepted without being asked for.
DEFAULT_MAX_FORGETTING = 0.2
#: What may be lost beyond that when new classes compete too.
LARGER_CHOICE = 0.3
#: Training may not lower the accuracy on the task's own classes by more than this.
HARM_LIMIT = 0.25
#: No head is refused for this few samples that turned wrong, unless no loss at all is allowed.
CHANCE_SAMPLES = 2


def refuse_broken(
    parameters: Mapping[str, FloatArray], logits: FloatArray, loss: float, judgement: Judgement | None = None
) -> None:
    """Keep the old head when training left numbers that are not numbers.

    Args:
        parameters: of the new head.
        logits: of the new head for a few samples.
        loss: of the last epoch.
        judgement: class by class, for the message.

    Raises:
        RejectedError: naming what is not finite.
    """
    broken = sorted(name for name, array in parameters.items() if not np.isfinite(array).all())
    if broken or not np.isfinite(loss) or not np.isfinite(logits).all():
        what = f"parameter {broken[0]}" if broken else f"the loss ({loss}) or logits"
        message = f"training ended with {what} not finite; the old head stays. Try a smaller --learning-rate"
        raise _rejected(message, judgement)


def _fell(before: float | None, after: float | None, samples: int, limit: float) -> bool:
    """Whether more than ``limit`` was lost, by more samples than chance may turn."""
    if before is None or after is None:
        return False
    lost = (before - after) * samples
    return before - after > limit and lost > (CHANCE_SAMPLES + 0.5 if limit > 0 else 0.5)  # of whole samples


def refuse_harm(
    before: float | None, after: float | None, samples: int, limit: float, judgement: Judgement | None = None
) -> None:
    """Keep the old head when training made the task's own classes harder to tell than they were without it.

    Args:
        before: accuracy on the task's own samples with rows at the class means, before the first step.
        after: the same under the new head.
        samples: how many there are.
        limit: of forgetting; 1 allows anything.
        judgement: class by class, for the message.

    Raises:
        RejectedError: with the figures.
    """
    if limit < 1 and before is not None and after is not None and _fell(before, after, samples, HARM_LIMIT):
        raise _rejected(
            f"accuracy on this task's own classes fell from {before:.1%} (class means, before the first step) to "
            f"{after:.1%}; the old head stays. Check the labels, or take --strategy slda or ncm, which make no steps",
            judgement,
        )


def refuse_forgetting(judgement: Judgement, limit: float) -> None:
    """Keep the old head when earlier classes lost more than allowed.

    Two losses count. Among the earlier classes alone nothing got harder, so that a loss is forgetting: it may be
    ``limit``. Among all classes a larger choice is a harder one: there ``limit + LARGER_CHOICE`` may be lost.

    Args:
        judgement: class by class.
        limit: the largest allowed loss, 0 to 1; 1 allows any.

    Raises:
        RejectedError: with the figures and the table.
    """
    known = ~np.isnan(judgement.before)
    if limit >= 1 or not known.any():
        return
    weights = judgement.images[known]
    samples = int(weights.sum())
    before = float(np.average(judgement.before[known], weights=weights))
    for values, allowed, where in (
        (judgement.among_earlier, limit, "among themselves"),
        (judgement.after, limit + LARGER_CHOICE, "among all classes"),
    ):
        after = float(np.average(values[known], weights=weights))
        if _fell(before, after, samples, allowed):
            raise _rejected(
                f"accuracy on earlier classes fell from {before:.1%} to {after:.1%} {where}, "
                f"allowed is a loss of {allowed:.1%} (--max-forgetting {limit:g}); the old head stays. "
                "Check the labels, or allow more",
                judgement,
            )


def refuse_contradiction(found: tuple[int, int], held_out: int, limit: float, judgement: Judgement) -> None:
    """Keep the old head when the labels say the opposite of what it learned, and too little is there to weigh it.

    A head that remembers its samples by heart gets them right even where everything else about it is ruined. With
    enough held-out samples of earlier classes these decide, and a person may correct a head that was surely wrong.

    Args:
        found: of :func:`contradictions`.
        held_out: samples of earlier classes that were never trained on.
        limit: the largest allowed loss; 1 allows anything.
        judgement: class by class, for the message.

    Raises:
        RejectedError: with the figures.
    """
    surely_wrong, samples = found
    if limit >= 1 or held_out >= ENOUGH_HELD_OUT or samples < CONTRADICTION_SAMPLES:
        return
    if surely_wrong > CONTRADICTION_SHARE * samples:
        raise _rejected(
            f"the labels contradict what was learned: {surely_wrong} of {samples} samples of known classes are, to the "
            f"old head, surely another class, and only {held_out} held-out samples could tell who is right; the old "
            "head stays. Check the labels; if they are right, accept them with --max-forgetting 1",
            judgement,
        )


def _rejected(message: str, judgement: Judgement | None) -> RejectedError:
    """The refusal with its per-class table."""
    if judgement is None:
        return RejectedError(message)
    table_of_classes = f"\n\n{judgement.text()}" if judgement.images.any() else ""
    return RejectedError(f"{message}{table_of_classes}", {"per_class": judgement.document()})
