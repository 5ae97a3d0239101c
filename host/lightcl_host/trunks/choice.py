"""Choose the exported trunk: 8-bit integers where they keep the network's answers, else float32; half on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import infer_shapes
from lightcl_host.graphs.runner import GraphRunner, in_batches
from lightcl_host.trunks.fp16 import halve_trunk
from lightcl_host.trunks.int8 import quantize_trunk
from lightcl_host.trunks.verification import Agreement, agreement_in_fresh_process

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.split import Split


AUTO, INT8, FP32, FP16 = "auto", "int8", "fp32", "fp16"
DTYPES = (AUTO, INT8, FP32, FP16)
#: Share of images on which a trunk of fewer bits must name the same first class as the original network.
MINIMUM_AGREEMENT = 0.95
#: Signal to noise that nine of ten feature channels must reach: a tenth of the power may be noise.
MINIMUM_CHANNEL_DB = 10.0
#: How many convolutions at the start stay float32 in an 8-bit trunk: the first try that is good enough is taken.
FLOAT_CONVOLUTIONS = (0, 3, 8)


def planned_dtype(wanted: str) -> str:
    """What memory is predicted for before the trunk is there: ``auto`` may end as float32, which takes the most."""
    return FP32 if wanted == AUTO else wanted


@dataclass(frozen=True)
class TrunkChoice:
    """The trunk that goes into the bundle.

    Attributes:
        model: shape-inferred.
        dtype: ``int8``, ``fp16`` or ``fp32``.
        quality: of the 8-bit or half-precision trunk that was tried (the best of several); None for none.
        agreement_known: whether its agreement means anything; not for random weights.
        float_convolutions: how many at its start stay float32.
        note: why it is not what a person may expect, ``""`` for nothing to say.
        tries: how many convolutions were kept in float32, and how good that was, in the order they were tried.
    """

    model: onnx.ModelProto
    dtype: str
    quality: Agreement | None = None
    agreement_known: bool = False
    float_convolutions: int = 0
    note: str = ""
    tries: tuple[tuple[int, Agreement], ...] = ()

    @property
    def agreement(self) -> float | None:
        """Share of images with the same first class; None where nothing was tried or the weights are random."""
        return self.quality.agreement if self.quality is not None and self.agreement_known else None

    @property
    def signal_to_noise_db(self) -> float | None:
        """Of all features together; None where nothing was tried."""
        return None if self.quality is None else self.quality.signal_to_noise_db


def trunk_features(trunk: onnx.ModelProto, images: FloatArray) -> FloatArray:
    """Features of normalised images, shape ``(n, *feature_shape)``."""
    runner = GraphRunner(trunk)
    return np.concatenate([runner({IMAGE: batch}, [FEATURES])[FEATURES] for batch in in_batches(images)])


@dataclass(frozen=True)
class Comparison:
    """What a trunk of fewer bits is compared with, on images it was not calibrated with.

    Attributes:
        images: normalised, shape ``(n, 3, height, width)``.
        features: of the float trunk for them.
        reference: the original network, or None where its weights are random and agreement means nothing.
    """

    images: FloatArray
    features: FloatArray
    reference: Callable[[FloatArray], FloatArray] | None

    def quality(self, trunk: onnx.ModelProto, split: Split) -> Agreement:
        """How well a trunk does."""
        classes = np.zeros(len(self.images), np.int64)
        if self.reference is not None:
            named = [self.reference(batch).argmax(axis=1) for batch in in_batches(self.images)]
            classes = np.concatenate(named).astype(np.int64)
        return agreement_in_fresh_process(trunk, split, self.images, self.features, classes)


def choose_trunk(
    split: Split, wanted: str, minimum_agreement: float, calibration: FloatArray, comparison: Comparison
) -> TrunkChoice:
    """Use fewer bits where asked or worth it.

    Args:
        split: the network's parts.
        wanted: ``auto``, ``int8``, ``fp16`` or ``fp32``.
        minimum_agreement: the share of equal first classes a trunk of fewer bits must reach.
        calibration: images for the ranges, normalised.
        comparison: images and results to compare with.

    Returns:
        The trunk; with ``auto`` the 8-bit one where it is good enough (always for random weights).

    Raises:
        BundleError: when ``int8`` or ``fp16`` was asked for and is not good enough.
    """
    if wanted == FP32:
        return TrunkChoice(split.trunk, FP32)
    known = comparison.reference is not None
    best: TrunkChoice | None = None
    tries: list[tuple[int, Agreement]] = []
    for choice in _candidates(split, wanted, calibration):
        quality = comparison.quality(choice.model, split)
        tries.append((choice.float_convolutions, quality))
        tried = replace(choice, quality=quality, agreement_known=known, tries=tuple(tries))
        if not known:
            return replace(tried, note=f"random weights: agreement of the {_kind(choice)} trunk was not asked for")
        if quality.agreement >= minimum_agreement and quality.lowest_tenth_db >= MINIMUM_CHANNEL_DB:
            return tried
        if best is None or best.quality is None or quality.agreement > best.quality.agreement:
            best = tried
    if best is None or best.quality is None:  # a trunk without a convolution
        return TrunkChoice(split.trunk, FP32, note="float32 was taken: the trunk has no convolution to quantise")
    found = _shortfall(best, best.quality, len(comparison.images), minimum_agreement)
    if wanted != AUTO:
        raise BundleError(f"{found}; use --trunk-dtype fp32, or lower --min-agreement knowingly")
    note = f"float32 was taken: {found}"
    return replace(best, model=split.trunk, dtype=FP32, float_convolutions=0, note=note, tries=tuple(tries))


def _candidates(split: Split, wanted: str, calibration: FloatArray) -> Iterator[TrunkChoice]:
    """From the smallest trunk to the most exact."""
    if wanted == FP16:
        yield TrunkChoice(halve_trunk(split.trunk), FP16)
        return
    convolutions = sum(node.op_type == "Conv" for node in split.trunk.graph.node)
    for count in FLOAT_CONVOLUTIONS:
        if count < convolutions:
            model = infer_shapes(quantize_trunk(split.trunk, calibration, count))
            yield TrunkChoice(model, INT8, float_convolutions=count)


def _kind(choice: TrunkChoice) -> str:
    return "half-precision" if choice.dtype == FP16 else "8-bit"


def _shortfall(choice: TrunkChoice, quality: Agreement, images: int, minimum_agreement: float) -> str:
    """What a trunk of fewer bits lacks, for a message."""
    name = _kind(choice)
    kept = f" with {choice.float_convolutions} convolutions in float32" if choice.float_convolutions else ""
    if quality.agreement < minimum_agreement:
        return (
            f"the {name} trunk{kept} agrees on the first class for {quality.agreement:.1%} of the {images} images "
            f"it was checked with, below {minimum_agreement:.1%}"
        )
    return (
        f"a tenth of the {name} trunk's{kept} feature channels have less than {quality.lowest_tenth_db:.1f} dB of "
        f"signal to noise, expected {MINIMUM_CHANNEL_DB:g} dB or more"
    )
