"""Whether a new head may replace the old one, judged on features kept out of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.engines.contract import FloatArray, IntArray
from lightcl_edge.errors import RejectedError

#: Share of each class that is kept out of training, and the most samples of a class to keep.
HOLDOUT_SHARE, HOLDOUT_PER_CLASS = 0.1, 20
#: A class with fewer images than this gives none away.
HOLDOUT_MINIMUM = 5
#: Largest loss of held-out accuracy on earlier classes that is accepted without being asked for.
DEFAULT_MAX_FORGETTING = 0.5
#: Training may not lower the task's own held-out accuracy by more than this, whatever else is allowed.
HARM_LIMIT = 0.25
#: No head is refused for this few held-out samples that turned wrong.
CHANCE_SAMPLES = 2

Logits = Callable[[NDArray[np.uint8]], FloatArray]


@dataclass(frozen=True)
class Holdout:
    """Held-out features of all classes so far.

    Attributes:
        features: uint8, shape ``(n, *feature_shape)``.
        labels: rows of the classifier, shape ``(n,)``.
    """

    features: NDArray[np.uint8]
    labels: IntArray

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]], shape: tuple[int, ...]) -> Holdout:
        """Read what a generation holds; nothing gives an empty one."""
        if not tensors:
            return cls(np.empty((0, *shape), np.uint8), np.empty(0, np.int64))
        return cls(tensors["features"].astype(np.uint8, copy=False), tensors["labels"].astype(np.int64, copy=False))

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What to keep in a generation."""
        return {"features": self.features, "labels": self.labels}

    def extended(self, features: NDArray[np.uint8], labels: IntArray) -> Holdout:
        """With new samples; of a class that overflows, the newest stay."""
        joined, rows = np.concatenate([self.features, features]), np.concatenate([self.labels, labels])
        newest = [np.flatnonzero(rows == row)[-HOLDOUT_PER_CLASS:] for row in np.unique(rows)]
        keep = np.sort(np.concatenate(newest)) if newest else np.empty(0, np.int64)
        return Holdout(joined[keep], rows[keep])


def split_holdout(labels: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Choose the samples to keep out of training.

    Args:
        labels: class of each sample, shape ``(n,)``.
        rng: decides which.

    Returns:
        Positions to train on and positions to keep out, each ascending.
    """
    held: list[IntArray] = []
    for row in np.unique(labels):
        members = np.flatnonzero(labels == row)
        if len(members) >= HOLDOUT_MINIMUM:
            count = min(HOLDOUT_PER_CLASS, max(1, round(HOLDOUT_SHARE * len(members))))
            held.append(rng.permutation(members)[:count])
    kept_out = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    return np.setdiff1d(np.arange(len(labels)), kept_out), kept_out.astype(np.int64)


def accuracy(logits: FloatArray, labels: IntArray, classes: int) -> float | None:
    """Share of samples whose largest logit among the first ``classes`` rows is the right one; None for none."""
    return float((logits[:, :classes].argmax(axis=1) == labels).mean()) if len(labels) else None


def refuse_broken(parameters: Mapping[str, FloatArray], logits: FloatArray, loss: float) -> None:
    """Keep the old head when training left numbers that are not numbers.

    Args:
        parameters: of the new head.
        logits: of the new head for a few samples.
        loss: of the last epoch.

    Raises:
        RejectedError: naming what is not finite.
    """
    broken = sorted(name for name, array in parameters.items() if not np.isfinite(array).all())
    if broken or not np.isfinite(loss) or not np.isfinite(logits).all():
        what = f"parameter {broken[0]}" if broken else f"the loss ({loss}) or logits"
        raise RejectedError(f"training ended with {what} not finite; the old head stays. Try a smaller --learning-rate")


def _fell(before: float | None, after: float | None, samples: int, limit: float) -> bool:
    """Whether more than ``limit`` was lost, by more samples than chance may turn."""
    if before is None or after is None:
        return False
    return before - after > limit and (before - after) * samples > CHANCE_SAMPLES


def refuse_harm(before: float | None, after: float | None, samples: int) -> None:
    """Keep the old head when training made the task's own classes harder to tell than they were without it.

    Args:
        before: accuracy on the task's held-out samples with rows at the class means, before the first step.
        after: the same under the new head.
        samples: how many there are.

    Raises:
        RejectedError: with the figures.
    """
    if before is not None and after is not None and _fell(before, after, samples, HARM_LIMIT):
        raise RejectedError(
            f"held-out accuracy on this task's own classes fell from {before:.1%} before training to {after:.1%}; "
            "the old head stays. Check the labels, or try a smaller --learning-rate"
        )


def refuse_forgetting(before: float | None, after: float | None, samples: int, limit: float) -> None:
    """Keep the old head when earlier classes lost more than allowed.

    Args:
        before: held-out accuracy on the earlier classes under the old head.
        after: the same under the new head.
        samples: how many there are.
        limit: the largest allowed loss, 0 to 1; 1 allows any.

    Raises:
        RejectedError: with the figures.
    """
    if limit >= 1 or before is None or after is None or not _fell(before, after, samples, limit):
        return
    raise RejectedError(
        f"held-out accuracy on earlier classes fell from {before:.1%} to {after:.1%}, allowed is a loss of {limit:.1%} "
        "(--max-forgetting); the old head stays"
    )
