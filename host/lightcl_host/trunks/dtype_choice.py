"""Choose the exported trunk: 8-bit where that keeps the network's answers, else float32; half precision on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_host.graphs.runner import GraphRunner, in_batches, run_in_batches
from lightcl_host.graphs.shapes import infer_shapes
from lightcl_host.trunks.fp16 import halve_trunk
from lightcl_host.trunks.int8 import TrunkQuantiser
from lightcl_host.trunks.verification import Agreement, agreement_in_fresh_process

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.split import Split


AUTO, INT8, FP32, FP16 = "auto", "int8", "fp32", "fp16"
DTYPES = (AUTO, INT8, FP32, FP16)
#: Share of images on which a trunk of fewer bits must name the same first class as the original network.
MINIMUM_AGREEMENT = 0.95
#: Signal to noise that nine of ten feature channels must reach: at most a tenth of the power is noise.
MINIMUM_CHANNEL_DB = 10.0
#: How many convolutions at the start stay float32 in an 8-bit trunk. The first try that is good enough is taken.
FLOAT_CONVOLUTIONS = (0, 3, 8)


def planned_dtype(wanted: str) -> str:
    """The type that memory is predicted for: ``auto`` may end as float32, which takes the most."""
    return FP32 if wanted == AUTO else wanted


@dataclass(frozen=True)
class TrunkChoice:
    """The trunk that goes into the bundle."""

    model: onnx.ModelProto  # shape-inferred
    dtype: str  # ``int8``, ``fp16`` or ``fp32``
    quality: Agreement | None = None  # of the best trunk of fewer bits that was tried; None where none was
    agreement_known: bool = False  # whether its agreement means anything; it does not for random weights
    float_convolutions: int = 0  # how many convolutions at its start stay float32
    note: str = ""  # why the trunk is not what a person may expect; ``""`` where it is
    # for each try in order, how many convolutions stayed float32 and how good the trunk was
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
    return run_in_batches(GraphRunner(trunk), images, IMAGE, FEATURES)


def first_classes(network: Callable[[FloatArray], FloatArray], images: FloatArray) -> IntArray:
    """The class of the largest logit for each image."""
    return np.concatenate([network(batch).argmax(axis=1) for batch in in_batches(images)]).astype(np.int64)


@dataclass(frozen=True)
class Comparison:
    """What a trunk of fewer bits is compared with, on images it was not calibrated with."""

    images: FloatArray  # normalised, shape ``(n, 3, height, width)``
    features: FloatArray  # of the float trunk for them
    # that the original network names first; None for random weights, for which they mean nothing
    classes: IntArray | None

    def quality(self, trunk: onnx.ModelProto, split: Split) -> Agreement:
        """How well a trunk stands in for the float one."""
        classes = np.zeros(len(self.images), np.int64) if self.classes is None else self.classes
        return agreement_in_fresh_process(trunk, split, self.images, self.features, classes)


def choose_trunk(
    split: Split, wanted: str, minimum_agreement: float, calibration: FloatArray, comparison: Comparison
) -> TrunkChoice:
    """Choose the trunk; ``auto`` takes an 8-bit one where it is good enough, and always for random weights.

    Raises:
        BundleError: when ``int8`` or ``fp16`` was asked for and is not good enough.
    """
    if wanted == FP32:
        return TrunkChoice(split.trunk, FP32)
    known = comparison.classes is not None
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
    if not convolutions:
        return
    quantiser = TrunkQuantiser(split.trunk, calibration)
    for count in FLOAT_CONVOLUTIONS:
        if count < convolutions:
            yield TrunkChoice(infer_shapes(quantiser.quantised(count)), INT8, float_convolutions=count)


def _kind(choice: TrunkChoice) -> str:
    return "half-precision" if choice.dtype == FP16 else "8-bit"


def _shortfall(choice: TrunkChoice, quality: Agreement, images: int, minimum_agreement: float) -> str:
    """A message: what a trunk of fewer bits lacks."""
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
