"""One task from features to a classifier: what ``train`` and the host's benchmark share."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.data.feature_buffer import FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.sums import Pooled, Sums
from lightcl_edge.files.tensors import FloatArray, IntArray, Parameters
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.closed_form.classifier import ClosedForm, fitted, with_scores
from lightcl_edge.learning.closed_form.temperature import fit_temperature, fitted_on
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.loop import Outcome, TrainingLoop, start_new_rows
from lightcl_edge.learning.strategies.class_rows import classifier_rows
from lightcl_edge.learning.strategies.contract import Strategy, Task


@dataclass(frozen=True)
class Known:
    """What is known before a task.

    Attributes:
        classes: how many.
        classifier: that tells them apart.
        parameters: of its head.
        exported: the bundle's own head.
        exported_classes: how many classes the bundle brought; they are the first.
        buffer: samples of earlier tasks.
        row_scale: of rows that were started for new classes; None before any.
        tasks: how many were learned.
    """

    classes: int
    classifier: LearnedClassifier
    parameters: Parameters
    exported: Parameters
    exported_classes: int
    buffer: FeatureBuffer
    row_scale: float | None = None
    tasks: int = 0


@dataclass
class Lesson:
    """Learns one task.

    Attributes:
        head: of the bundle.
        classes: names after the task, in row order.
        samples: of the task.
        sums: with those samples.
        loaded: the parameters that the engine holds now.
    """

    engine: Engine
    strategy: Strategy
    head: HeadInfo
    classes: Sequence[str]
    known: Known
    samples: Samples
    sums: Sums
    loaded: Parameters | None = None

    @property
    def all_sampled(self) -> bool:
        """Whether there is a sample of every class, also of those that the bundle brought."""
        return set(self.classes) <= set(self.sums.classes)

    def pooled(self) -> Pooled | None:
        """The sums of all classes together, if there are samples of all."""
        return self.sums.pooled(self.classes) if self.all_sampled else None

    def closed_form(self, pooled: Pooled | None, taps: FloatArray, labels: IntArray) -> ClosedForm | None:
        """The classifier in closed form, with the temperature that fits held-out samples.

        Args:
            pooled: the sums of all classes, whose scatter is overwritten. Without them there is no closed form.
            taps: of held-out samples, shape ``(n, tap_size)``; may be empty.
            labels: shape ``(n,)``.

        Raises:
            StateError: when the sums are not those of samples.
        """
        if pooled is None:
            return None
        return fitted(self.sums, self.classes, pooled, self.strategy.fit, (taps, labels))

    def start(self, form: ClosedForm | None, batch_size: int, order: np.random.Generator) -> tuple[Task, float | None]:
        """Load the head to start from into the engine; gives the task, and the scale of rows that were started."""
        known, strategy = self.known, self.strategy
        labels = self.samples.labels[self.samples.rows]
        first = order.permutation(self.samples.rows)[:batch_size]
        task = Task(
            known.tasks,
            labels,
            len(self.classes),
            first,
            self.samples.read,
            self.samples.rows,
            known.buffer,
            known.exported,
            form=form,
        )
        if strategy.on_closed_form:
            zeros = {
                WEIGHT: np.zeros((self.head.capacity, self.head.penultimate_size), np.float32),
                BIAS: np.zeros(self.head.capacity, np.float32),
            }
            if strategy.trains_head:
                needs_old = strategy.holds_patterns(strategy.settings.beta)
                self._load(known.parameters if needs_old else known.exported)
            return replace(task, start=ChainMap(zeros, _read_only(known.exported))), known.row_scale
        alone = known.classifier.closed_form_share == 0.0
        base = known.parameters if alone else known.exported
        self._load(base)
        new_rows = range(known.classes if alone else known.exported_classes, len(self.classes))
        scale = start_new_rows(self.engine, task, new_rows, known.row_scale if alone else None)
        return replace(task, start=ChainMap(classifier_rows(self.engine), _read_only(base))), scale

    def _load(self, parameters: Parameters) -> None:
        if parameters is not self.loaded:
            self.engine.load(parameters)
            self.loaded = parameters

    def untrained(self, form: ClosedForm | None) -> LearnedClassifier:
        """The classifier before the first step; the engine holds the head that :meth:`start` loads."""
        return self._classifier(form, 0.0 if self.strategy.on_closed_form else 1.0)

    def learn(self, task: Task, loop: TrainingLoop) -> tuple[LearnedClassifier, Outcome]:
        """Make the steps, if there are any; the engine then holds the classifier's head."""
        if not self.strategy.trains_head:
            classifier = self.untrained(task.form)
            return classifier, Outcome(0.0, resumed=False, improved=True)
        outcome = loop.run(task)
        share = self.strategy.head_share if outcome.improved or not self.strategy.on_closed_form else 0.0
        return self._classifier(task.form, share), outcome

    def _classifier(self, form: ClosedForm | None, head_share: float) -> LearnedClassifier:
        if form is None:
            return LearnedClassifier.of_head(len(self.classes), self.sums.size)
        if not self.strategy.on_closed_form:
            return form.classifier(0.0, head_share)
        return on_top_of(form, head_share)


def on_top_of(form: ClosedForm, head_share: float) -> LearnedClassifier:
    """The closed form with this share of a head that was trained on top of it."""
    if not head_share:
        return form.classifier(1.0, 0.0)
    return replace(form.classifier(1.0 / form.temperature, head_share), temperature=1.0)


def judged(
    classifier: LearnedClassifier, logits: FloatArray, taps: FloatArray, labels: IntArray, form: ClosedForm | None
) -> LearnedClassifier:
    """The classifier with what held-out samples say: its temperature and its novelty scores.

    Args:
        logits: that it gives them, shape ``(n, classes)``.
        taps: of the samples, shape ``(n, tap_size)``.
        labels: shape ``(n,)``.
        form: what it was made from; None where nothing was learned in closed form.
    """
    if classifier.needs_head:
        chosen = fitted_on(len(labels), len(classifier.biases))
        temperature = fit_temperature(logits[chosen].astype(np.float64), labels[chosen], classifier.temperature)
        classifier = replace(classifier, temperature=temperature)
    return with_scores(classifier, taps, labels, form)


def _read_only(parameters: Parameters) -> dict[str, FloatArray]:
    """The parameters for a ChainMap, which asks for a mapping that can be changed and changes only its first."""
    return parameters  # type: ignore[return-value]
