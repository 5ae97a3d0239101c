"""LightCL as published (Wang et al., ASP-DAC 2025): hold the important feature patterns of the old head.

Cross entropy runs over the current task's classes only. From the second task on, a few samples of the new task pass
through the old head before training. Training then pays ``beta`` times the squared change of their activations in the
important channels. In each task the share ``ratio`` of channels with the largest sum of absolute activations becomes
important, and stays so. Logits are held in all rows.
"""

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import LOGITS
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import FloatArray, distinct
from lightcl_edge.learning.engines.contract import Engine, PatternTerm
from lightcl_edge.learning.strategies.contract import Arrays, Settings, Strategy, Task


class LightCL(Strategy):
    """Feature-pattern regularisation with channel masks accumulated over tasks."""

    name = "lightcl"

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        super().__init__(head, settings)
        self._masks: dict[str, FloatArray] = {}

    def restore(self, arrays: Arrays) -> None:
        """Take up the masks of earlier tasks. Raises StateError when they name tensors that this head does not have."""
        unknown = sorted(set(arrays) - set(self.head.patterns))
        if unknown:
            raise StateError(
                f"the state holds masks for {unknown}, which this head lacks; it belongs to another bundle"
            )
        self._masks = {name: np.array(mask, np.float32) for name, mask in arrays.items()}

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The masks, so that the next task adds to them."""
        return {name: mask.astype(np.bool_) for name, mask in self._masks.items()}

    def forget(self, row: int) -> None:
        """Logits lose the row; masks of inner activations belong to no class and stay."""
        if LOGITS in self._masks:
            self._masks[LOGITS] = np.append(np.delete(self._masks[LOGITS], row), np.float32(0)).astype(np.float32)

    @classmethod
    def holds_patterns(cls, _beta: float) -> bool:
        """Always, because each task adds to the masks."""
        return True

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """From the second task on: memorise patterns of the first batch's samples and mark their channels."""
        rows = task.first_rows[: self.settings.pattern_samples]
        if task.number == 0 or len(rows) == 0:
            return None
        features = task.read(rows)
        targets = engine.activations(features, self.head.patterns)
        for name, values in targets.items():
            known = super().active_classes(task).astype(np.float32)
            found = known if name == LOGITS else important_channels(values, self.settings.ratio)
            earlier = self._masks.get(name, np.zeros_like(found))
            if earlier.shape != found.shape:
                raise StateError(
                    f"the state's mask of {name} has shape {earlier.shape}, expected {found.shape}; roll back to "
                    "another generation"
                )
            self._masks[name] = np.maximum(earlier, found).astype(np.float32)
        return PatternTerm(features, targets, dict(self._masks), self.settings.beta)

    def active_classes(self, task: Task) -> NDArray[np.bool_]:
        """The task's own classes; all known ones when it has only one, which alone would teach nothing."""
        active = np.zeros(self.head.capacity, np.bool_)
        active[distinct(task.labels)] = True
        return active if active.sum() > 1 else super().active_classes(task)


def important_channels(values: FloatArray, ratio: float) -> FloatArray:
    """1 for the share ``ratio`` of channels (at least one) with the largest sum of absolute activations, else 0.

    Of shape ``(channels,)``, from activations of shape ``(n, channels, ...)``. Of equal sums the earlier channel wins.
    """
    sums = np.abs(values).sum(axis=tuple(axis for axis in range(values.ndim) if axis != 1), dtype=np.float64)
    count = max(1, round(ratio * len(sums)))
    mask = np.zeros(len(sums), np.float32)
    mask[np.argsort(-sums, kind="stable")[:count]] = 1.0
    return mask
