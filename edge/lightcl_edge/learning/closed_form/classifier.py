"""The classifier that sums give at once, and how what was held out makes its scores mean something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightcl_edge.data.sums import Pooled, Sums
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray
from lightcl_edge.inference.learned_classifier import QUANTILES, LearnedClassifier, NoveltyTerms
from lightcl_edge.learning.closed_form.analysis import Rows
from lightcl_edge.learning.closed_form.left_out import learned_samples, left_out_logits
from lightcl_edge.learning.closed_form.nearest_mean import nearest_mean_rows
from lightcl_edge.learning.closed_form.novelty import background, fit_novelty, left_out_novelty
from lightcl_edge.learning.closed_form.temperature import fit_temperature, fitted_on, starting_temperature
from lightcl_edge.learning.closed_form.thresholds import alike_many, score_quantiles

Fit = Callable[[Pooled], Rows]


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """Rows of ``k`` classes in closed form.

    Attributes:
        weights: shape ``(k, d)``.
        biases: shape ``(k,)``.
        noise: what a sample that taught a class adds to that class's logit, shape ``(k,)``. Without it the logit is
            that of a sample which is left out.
        temperature: of the logits.
        terms: of the novelty score.
        left_out: logits ``(n, k)`` of learned samples by rows that they had no part in.
        left_out_novelty: their novelty scores, shape ``(n,)``, likewise.
        left_out_labels: of those samples, shape ``(n,)``.
    """

    weights: FloatArray
    biases: FloatArray
    noise: DoubleArray
    temperature: float
    terms: NoveltyTerms
    left_out: DoubleArray
    left_out_novelty: DoubleArray
    left_out_labels: IntArray

    @classmethod
    def of(cls, pooled: Pooled, fit: Fit, taps: FloatArray, labels: IntArray) -> ClosedForm:
        """From the sums of at least one class; the scatter of ``pooled`` is overwritten.

        Args:
            pooled: the sums.
            fit: how rows follow from them.
            taps: of some samples that are in the sums, shape ``(n, d)``; may be empty.
            labels: shape ``(n,)``.

        Raises:
            StateError: when the sums are not those of samples.
        """
        behind = background(pooled, one_variance=fit is nearest_mean_rows)
        rows = fit(pooled)
        strange = left_out_novelty(rows, pooled, behind, taps, labels)
        return cls(
            rows.weights.astype(np.float32),
            rows.biases.astype(np.float32),
            rows.noise,
            starting_temperature(pooled.means, rows.weights),
            fit_novelty(pooled.means, rows.weights, rows.precision, behind.matrix),
            left_out_logits(rows, pooled, taps, labels),
            strange,
            labels,
        )

    def tempered(self, taps: FloatArray, labels: IntArray) -> ClosedForm:
        """With the temperature that fits ``left_out`` and held-out samples, taps ``(n, d)`` and labels ``(n,)``.

        There may be none of either.
        """
        chosen = fitted_on(len(labels), len(self.weights))
        logits = np.concatenate([self.classifier(1.0, 0.0).logits(taps[chosen], None), self.left_out])
        known = np.concatenate([labels[chosen], self.left_out_labels])
        return replace(self, temperature=fit_temperature(logits, known, self.temperature))

    def classifier(self, closed_form_share: float, head_share: float) -> LearnedClassifier:
        """The classifier with these shares of the logits, and no novelty scores yet."""
        temperature = self.temperature if closed_form_share else 1.0
        scores = np.zeros(0, np.float32)
        return LearnedClassifier(
            self.weights, self.biases, closed_form_share, head_share, temperature, self.terms, scores
        )


def fitted(
    sums: Sums, classes: Sequence[str], pooled: Pooled, fit: Fit, held_out: tuple[FloatArray, IntArray]
) -> ClosedForm:
    """The classifier of all classes, with its temperature.

    Args:
        sums: of which ``pooled`` are those of the classes together; their scatter is overwritten.
        classes: names in row order.
        pooled: of them.
        fit: how rows follow from them.
        held_out: taps ``(n, d)`` and labels ``(n,)``; ``n`` may be 0.

    Raises:
        StateError: when the sums are not those of samples.
    """
    learned = learned_samples(sums, classes, len(held_out[1]))
    return ClosedForm.of(pooled, fit, *learned).tempered(*held_out)


def with_scores(
    classifier: LearnedClassifier, taps: FloatArray, labels: IntArray, form: ClosedForm | None
) -> LearnedClassifier:
    """The classifier with the novelty scores of held-out samples, and of learned ones that are left out.

    A few held-out samples alone would set a threshold by chance.

    Args:
        classifier: without such scores.
        taps: shape ``(n, tap_size)``; ``n`` may be 0.
        labels: shape ``(n,)``.
        form: what the classifier was made from; None where nothing was learned in closed form.
    """
    scores = classifier.novelty(taps)
    if scores is None or form is None:
        return replace(classifier, held_out_scores=np.zeros(0, np.float32))
    every, known = np.concatenate([scores, form.left_out_novelty]), np.concatenate([labels, form.left_out_labels])
    return replace(classifier, held_out_scores=score_quantiles(every[alike_many(known)], QUANTILES))
