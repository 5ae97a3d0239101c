"""Latent replay on top of the classifier in closed form.

Rows in closed form follow from sums, which are exact for all samples ever seen. On top of their logits the whole head
is trained for a few epochs over the task's samples and the feature buffer together (latent replay, Pellegrini et al.
2020). It begins as exported, with zero rows in its classifier, so it learns only what the closed form gets wrong. Each
task starts afresh from what is exact, so errors of one task do not add up over the next. What is learned depends on the
samples seen and kept, not on the order of tasks.

- A sample helped to make its own class mean. Steps see the logit that it would have had without that.
- The learning rate falls linearly to zero, so that the last steps average.
- Only a share of the head's logits counts, ``HEAD_SHARE``. A few dozen remembered samples of a class are soon learned
  by heart; a part of the way brings the gain without that.
- If the result is no better on the samples than the closed form alone, the head does not count at all.
- With ``--beta`` above 0 LightCL's pattern term holds the head's inner activations to what they were before the task.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import LOGITS, MASKED_LOGIT, PENULTIMATE, TAPS
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.learning.closed_form.classifier import ClosedForm
from lightcl_edge.learning.engines.contract import Engine, PatternTerm
from lightcl_edge.learning.strategies.contract import Arrays, Settings, Strategy, Task
from lightcl_edge.learning.strategies.forward import FORWARD_BATCH, parts
from lightcl_edge.learning.strategies.lightcl import LightCL

#: The learning rate is meant for penultimate activations up to this squared length; longer ones get a smaller one.
SQUARED_LENGTH = 1000.0
#: How much of the trained head counts. On validation images shares from 0.2 to 1 differ by 0.3 points
#: (``docs/builders/results-learning.md``); a small one is safer with few samples.
HEAD_SHARE = 0.4


class Replay(Strategy):
    """Discriminant analysis, then training on top of it over new and remembered samples."""

    name = "replay"
    on_closed_form = True
    head_share = HEAD_SHARE
    accepted_rise = 1.0
    #: Its steps are larger than those of other strategies: one image of a new class must not throw the head about.
    largest_weight = 4.0

    def __init__(self, head: HeadInfo, settings: Settings) -> None:
        super().__init__(head, settings)
        self._patterns = LightCL(head, settings)
        self._squared_lengths: list[float] = []  # of penultimate activations, means of a few samples
        self._new, self._remembered = (np.empty((0, 0), np.float32) for _ in range(2))

    def restore(self, arrays: Arrays) -> None:
        """Take up the pattern masks if there are some. Raises StateError when they do not fit this head."""
        self._patterns.restore(arrays)

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The pattern masks."""
        return self._patterns.tensors()

    def forget(self, row: int) -> None:
        """The masks' logits lose the row."""
        self._patterns.forget(row)

    @classmethod
    def holds_patterns(cls, beta: float) -> bool:
        """Only if the pattern term has a weight."""
        return beta > 0

    def begin(self, task: Task, engine: Engine) -> PatternTerm | None:
        """Take patterns of the old head if they have a weight; then the logits in closed form of the whole pool."""
        term = self._patterns.begin(task, engine) if self.settings.beta > 0 else None
        if term is not None:  # the head's logits start anew
            term = replace(term, targets={name: values for name, values in term.targets.items() if name != LOGITS})
        if task.form is None:
            raise ValueError("replay needs the classifier in closed form")
        engine.load(task.exported)
        self._new = self._left_out(task, task.form, engine, task.rows)
        self._remembered = self._left_out(task, task.form, engine, -1 - np.arange(task.remembered))
        return term

    def _left_out(self, task: Task, form: ClosedForm, engine: Engine, places: IntArray) -> FloatArray:
        """Logits in closed form that samples have without their own part in their class's row, shape ``(k, classes)``.

        The engine holds the exported head. The length of its penultimate activations is measured on the way.
        """
        found = np.empty((len(places), task.known_classes), np.float32)
        for at, part in zip(range(0, len(places), FORWARD_BATCH), parts(places), strict=True):
            features, labels = task.samples(part)
            values = engine.activations(features, [TAPS, PENULTIMATE])
            logits = values[TAPS] @ form.weights.T + form.biases
            logits[np.arange(len(labels)), labels] -= form.noise[labels].astype(np.float32)
            found[at : at + len(part)] = logits / np.float32(form.temperature)
            self._squared_lengths.append(float(np.square(values[PENULTIMATE], dtype=np.float64).sum(axis=1).mean()))
        return found

    def offsets(self, task: Task, places: IntArray) -> FloatArray:
        """The logits in closed form of ``k`` places, masked for rows without a class."""
        offsets = np.full((len(places), self.head.capacity), MASKED_LOGIT, np.float32)
        new, order = places >= 0, np.argsort(task.rows, kind="stable")
        found = order[np.searchsorted(task.rows, places[new], sorter=order)]
        offsets[new, : task.known_classes] = self._new[found]
        offsets[~new, : task.known_classes] = self._remembered[-1 - places[~new]]
        return offsets

    def pool(self, task: Task) -> IntArray:
        """New samples and all that are remembered."""
        return np.concatenate([task.rows, -1 - np.arange(task.remembered)])

    def pool_labels(self, task: Task) -> IntArray:
        """New samples' and remembered ones'."""
        remembered = task.buffer.labels if task.buffer is not None else np.empty(0, np.int64)
        return np.concatenate([task.labels, remembered])

    def rate(self, done: float) -> float:
        """Falls linearly to zero; from less where activations are long, whose gradients are too."""
        length = float(np.mean(self._squared_lengths)) if self._squared_lengths else 0.0
        return (1.0 - done) * SQUARED_LENGTH / max(length, SQUARED_LENGTH)
