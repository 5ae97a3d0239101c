"""How a generation predicts: rows in closed form, the trained head, or both; and whether an image was never seen.

Everything here works on **taps**: rows of ``D`` numbers, the pooled and normalised outputs of the head's last stages.
They are those of the head as exported, also where a trained head gives logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, Tensors

#: Share of images of known classes that may be called unknown, unless the user says otherwise.
DEFAULT_FALSE_ALARMS = 0.05
#: A prediction whose largest probability is below this is unsure, unless the user says otherwise.
DEFAULT_UNSURE_BELOW = 0.5
#: Quantiles of held-out novelty scores that are kept: 0, 1, ... 100 per cent.
QUANTILES = 101
_SHARES = np.linspace(0.0, 1.0, QUANTILES)
_LARGEST = 1e30
#: Samples whose novelty is computed at once: with a thousand classes each takes 16 kB.
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class NoveltyTerms:
    """The terms of the novelty score of ``k`` classes on taps of ``D`` numbers."""

    centre: FloatArray  # (D,) float32: the mean of the class means
    matrix: FloatArray  # (D, D) float32, symmetric: how distances from the centre count
    own: DoubleArray  # (k,): what the squared distance to each class mean adds

    @classmethod
    def none(cls) -> NoveltyTerms:
        """Terms of no class, for a classifier that can't tell what it has never seen."""
        return cls(np.zeros(0, np.float32), np.zeros((0, 0), np.float32), np.zeros(0))


def novelty(terms: NoveltyTerms, taps: FloatArray, products: DoubleArray) -> DoubleArray:
    """How far samples lie from all classes, in directions that the classes share; the larger, the stranger.

    ``min_c (own_c - 2 (z_c - mean z)) + (x - centre)' M (x - centre)``. How it follows from the sums is in
    ``learning/closed_form/novelty.py``.

    Args:
        taps: ``x``, shape ``(n, D)``.
        products: ``z = taps @ weights.T``, shape ``(n, k)``, without biases.

    Returns:
        Scores, shape ``(n,)``.
    """
    nearest = (terms.own - 2.0 * (products - products.mean(axis=1, keepdims=True))).min(axis=1)
    apart = taps - terms.centre
    scores: DoubleArray = nearest + np.einsum("nd,nd->n", apart @ terms.matrix, apart, dtype=np.float64)
    return scores


@dataclass(frozen=True, eq=False)
class LearnedClassifier:
    """Gives logits, probabilities and novelty scores of ``k`` classes.

    Attributes:
        weights: ``(k, D)`` float32; ``(0, D)`` where nothing was learned in closed form.
        biases: ``(k,)`` float32; zeros where there are no weights.
        closed_form_share: of ``taps @ weights.T + biases`` in the logits.
        head_share: of the head's own logits in the logits.
        temperature: that logits are divided by before the softmax, above 0.
        terms: of the novelty score; of no class where there are no weights.
        held_out_scores: ``(101,)`` float32, the quantiles 0 to 100 % of the novelty scores of samples that were not
            learned, or ``(0,)`` where too few tell. Then nothing is called unknown.
    """

    weights: FloatArray
    biases: FloatArray
    closed_form_share: float
    head_share: float
    temperature: float
    terms: NoveltyTerms
    held_out_scores: FloatArray

    @classmethod
    def of_head(cls, classes: int, tap_size: int) -> LearnedClassifier:
        """The head's own logits and nothing else, as a bundle predicts before anything was learned."""
        weights, biases = np.zeros((0, tap_size), np.float32), np.zeros(classes, np.float32)
        return cls(weights, biases, 0.0, 1.0, 1.0, NoveltyTerms.none(), np.zeros(0, np.float32))

    @cached_property
    def needs_head(self) -> bool:
        """Whether logits need the head's own; if not, the head need not be run to its end."""
        return self.head_share != 0.0

    @property
    def tells_unknown(self) -> bool:
        """Whether novelty scores can be computed."""
        return len(self.weights) > 0

    def products(self, taps: FloatArray) -> DoubleArray:
        """``taps @ weights.T`` in float64, shape ``(n, k)``."""
        return taps.astype(np.float64) @ self.weights.T.astype(np.float64)

    def logits(self, taps: FloatArray, head_logits: FloatArray | None) -> DoubleArray:
        """Logits of the classes, shape ``(n, k)``.

        Args:
            taps: shape ``(n, D)``.
            head_logits: the head's own, shape ``(n, k)`` or ``(n, capacity)``; None unless :attr:`needs_head`.
        """
        found = np.zeros((len(taps), len(self.biases)))
        if self.closed_form_share and len(self.weights):
            found += self.closed_form_share * (self.products(taps) + self.biases)
        if self.needs_head and head_logits is not None:
            found += self.head_share * head_logits[:, : len(self.biases)].astype(np.float64)
        return found

    def probabilities(self, taps: FloatArray, head_logits: FloatArray | None) -> FloatArray:
        """``softmax(logits / temperature)``, shape ``(n, k)``; arguments as for :meth:`logits`."""
        return softmax(self.logits(taps, head_logits) / self.temperature)

    def novelty(self, taps: FloatArray) -> DoubleArray | None:
        """Novelty scores, shape ``(n,)``; None unless :attr:`tells_unknown`."""
        if not self.tells_unknown:
            return None
        parts = (taps[at : at + _BLOCK] for at in range(0, len(taps), _BLOCK))
        return np.concatenate([np.zeros(0), *(novelty(self.terms, part, self.products(part)) for part in parts)])

    def threshold(self, false_alarms: float = DEFAULT_FALSE_ALARMS) -> float | None:
        """The novelty score that this share (0 to 1) of held-out samples exceeds; None where none were held out."""
        if not self.tells_unknown or not len(self.held_out_scores):
            return None
        return float(np.interp(1.0 - false_alarms, _SHARES, self.held_out_scores))

    def is_unknown(self, scores: DoubleArray, false_alarms: float = DEFAULT_FALSE_ALARMS) -> NDArray[np.bool_]:
        """Which novelty scores lie above the threshold of this share of false alarms (0 to 1), shape ``(n,)``."""
        threshold = self.threshold(false_alarms)
        return scores > threshold if threshold is not None else np.zeros(len(scores), np.bool_)

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What to keep of it; :meth:`from_tensors` reads it."""
        return {
            "weights": self.weights,
            "biases": self.biases,
            "closed_form_share": np.array(self.closed_form_share, np.float32),
            "head_share": np.array(self.head_share, np.float32),
            "temperature": np.array(self.temperature, np.float32),
            "novelty.centre": self.terms.centre,
            "novelty.matrix": pack_symmetric(self.terms.matrix),
            "novelty.own": self.terms.own,
            "held_out_scores": self.held_out_scores,
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, classes: int, tap_size: int, *, scores: bool = True) -> LearnedClassifier:
        """The classifier of :meth:`tensors`, for so many classes and numbers a sample; its novelty terms if wanted.

        Raises StateError when names, types, shapes or ranges do not fit.
        """
        try:
            _check(tensors, classes, tap_size)
        except ValueError as error:
            raise StateError(
                f"the state's classifier does not fit: {error}; "
                "roll back to another generation: lightcl-edge rollback --state S"
            ) from error
        terms = NoveltyTerms.none()
        if scores:
            terms = NoveltyTerms(
                tensors["novelty.centre"].astype(np.float32, copy=False),
                unpack_symmetric(tensors["novelty.matrix"].astype(np.float32, copy=False)),
                tensors["novelty.own"].astype(np.float64, copy=False),
            )
        return cls(
            weights=tensors["weights"].astype(np.float32, copy=False),
            biases=tensors["biases"].astype(np.float32, copy=False),
            closed_form_share=float(tensors["closed_form_share"].item()),
            head_share=float(tensors["head_share"].item()),
            temperature=float(tensors["temperature"].item()),
            terms=terms,
            held_out_scores=tensors["held_out_scores"].astype(np.float32, copy=False),
        )


def pack_symmetric(matrix: FloatArray) -> FloatArray:
    """The upper half of a symmetric matrix ``(d, d)``, line by line, shape ``(d (d + 1) / 2,)``."""
    return np.concatenate([line[place:] for place, line in enumerate(matrix)] or [np.zeros(0, matrix.dtype)])


def unpack_symmetric(packed: FloatArray) -> FloatArray:
    """The matrix of :func:`pack_symmetric`."""
    size = (math.isqrt(8 * len(packed) + 1) - 1) // 2
    matrix, start = np.empty((size, size), packed.dtype), 0
    for place in range(size):  # index arrays would be as large as the matrix
        line = packed[start : start + size - place]
        matrix[place, place:] = matrix[place:, place] = line
        start += len(line)
    return matrix


def softmax(logits: DoubleArray) -> FloatArray:
    """Probabilities of logits, shape ``(n, k)``."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def _check(tensors: Tensors, classes: int, tap_size: int) -> None:
    rows = 0 if tensors.get("weights", np.zeros(0)).shape[:1] == (0,) else classes
    size = tap_size if rows else 0
    scored = 0 if tensors.get("held_out_scores", np.zeros(1)).shape == (0,) else QUANTILES
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "weights": (np.float32, (rows, tap_size)),
        "biases": (np.float32, (classes,)),
        "closed_form_share": (np.float32, ()),
        "head_share": (np.float32, ()),
        "temperature": (np.float32, ()),
        "novelty.centre": (np.float32, (size,)),
        "novelty.matrix": (np.float32, (size * (size + 1) // 2,)),
        "novelty.own": (np.float64, (rows,)),
        "held_out_scores": (np.float32, (scored,)),
    }
    if set(tensors) != set(expected):
        raise ValueError(f"it holds {[name[:80] for name in sorted(tensors)][:12]}, expected {sorted(expected)}")
    for name, (kind, shape) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != kind or tensor.shape != shape:
            raise ValueError(f"{name} is {tensor.dtype} {tensor.shape}, expected {np.dtype(kind)} {shape}")
        if not bool((np.abs(tensor.astype(np.float64, copy=False)) < _LARGEST).all()):  # NaN is not below either
            raise ValueError(f"{name} holds NaN, infinity or numbers beyond {_LARGEST:g}, expected finite ones")
    if not tensors["temperature"].item() > 0:
        raise ValueError(f"the temperature is {tensors['temperature'].item():g}, expected a number above 0")
    scores = tensors["held_out_scores"].astype(np.float64)
    if (np.diff(scores) < 0).any():
        raise ValueError("held_out_scores fall, expected quantiles in ascending order")
