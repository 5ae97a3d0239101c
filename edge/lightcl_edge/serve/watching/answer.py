"""One answer from several frames, so that a flicker between two frames changes nothing.

The rule of Frigate's state classification: enough frames agree, each with a high enough probability.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

from lightcl_edge.errors import UsageError

Kind = Literal["sure", "unsure", "never seen"]
#: No answer is sure after fewer frames, unless the window is smaller.
_LEAST_FRAMES = 3


@dataclass(frozen=True)
class Answer:
    """What the last frames show together.

    Attributes:
        class_name: the most frequent of the most probable classes; when never seen, the nearest known class.
        probability: its mean over the frames that name it, 0 to 1.
        kind: how far to believe it.
        changed: whether ``kind``, or the class of a sure answer, differs from the answer before.
    """

    class_name: str
    probability: float
    kind: Kind
    changed: bool


class StableAnswer:
    """The answer over the last frames.

    A frame votes for its class when the probability is at least ``threshold``, or for never seen; else for nothing. The
    answer is what at least a share of ``agreement`` of the last ``window`` frames votes for. Use a window of 1 for
    single pictures. Raises UsageError when a number is out of its range.
    """

    def __init__(self, threshold: float = 0.8, agreement: float = 0.6, window: int = 5) -> None:
        if not (0 <= threshold <= 1 and 0 < agreement <= 1 and window >= 1):
            raise UsageError(
                f"found a threshold of {threshold}, an agreement of {agreement} and a window of {window} frames; "
                "expected shares from 0 to 1, an agreement above 0, and at least one frame"
            )
        self._threshold, self._agreement = threshold, agreement
        self._frames: deque[tuple[str, float, bool]] = deque(maxlen=window)
        self._last: tuple[Kind, str] | None = None

    def add(self, class_name: str, probability: float, *, never_seen: bool = False) -> Answer:
        """Take the next frame's most probable class; gives the answer now."""
        self._frames.append((class_name, probability, never_seen))
        kind, name = self._vote()
        named = [share for each, share, _ in self._frames if each == name]
        seen = (kind, name if kind == "sure" else "")
        changed, self._last = self._last is not None and seen != self._last, seen
        return Answer(name, sum(named) / len(named), kind, changed)

    def clear(self) -> None:
        """Forget the frames: what was learned meanwhile answers otherwise."""
        self._frames.clear()

    def _vote(self) -> tuple[Kind, str]:
        """The kind of the answer, and the class that it names. Of equal numbers, the one that came first counts."""
        sure = Counter(name for name, share, unseen in self._frames if not unseen and share >= self._threshold)
        unseen = Counter(name for name, _, unseen in self._frames if unseen)
        needed = max(self._agreement * len(self._frames) - 1e-9, 1)
        if len(self._frames) >= min(_LEAST_FRAMES, self._frames.maxlen or 1):
            if unseen.total() >= max(needed, sure.total()):
                return "never seen", unseen.most_common(1)[0][0]
            if sure and (best := sure.most_common(1)[0])[1] >= needed:
                return "sure", best[0]
        return "unsure", Counter(name for name, _, _ in self._frames).most_common(1)[0][0]
