"""Choose the exported trunk: 8-bit integers where they keep the network's answers, else float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError
from lightcl_host.inference import GraphRunner, in_batches
from lightcl_host.onnx_graph import FEATURES, IMAGE, infer_shapes
from lightcl_host.quantize import quantize_trunk
from lightcl_host.verify_split import agreement_in_fresh_process

if TYPE_CHECKING:
    import onnx

    from lightcl_host.split import Split

FloatArray = NDArray[np.float32]

AUTO, INT8, FP32 = "auto", "int8", "fp32"
DTYPES = (AUTO, INT8, FP32)
#: Share of calibration images on which an 8-bit trunk must name the same first class as the original network.
MINIMUM_AGREEMENT = 0.95


@dataclass(frozen=True)
class TrunkChoice:
    """The trunk that goes into the bundle.

    Attributes:
        model: shape-inferred.
        dtype: ``int8`` or ``fp32``.
        agreement: share of images on which the 8-bit trunk and the original network agree on the first class;
            None when it was not tried or the weights are random (their answers mean nothing).
        signal_to_noise_db: of the 8-bit trunk's features against the float ones; None when it was not tried.
        note: why it is not what a person may expect, ``""`` for nothing to say.
    """

    model: onnx.ModelProto
    dtype: str
    agreement: float | None
    signal_to_noise_db: float | None
    note: str = ""


def trunk_features(trunk: onnx.ModelProto, images: FloatArray) -> FloatArray:
    """Features of normalised images, shape ``(n, *feature_shape)``."""
    runner = GraphRunner(trunk)
    return np.concatenate([runner({IMAGE: batch}, [FEATURES])[FEATURES] for batch in in_batches(images)])


def choose_trunk(
    split: Split,
    wanted: str,
    minimum_agreement: float,
    images: FloatArray,
    float_features: FloatArray,
    reference: Callable[[FloatArray], FloatArray] | None,
) -> TrunkChoice:
    """Quantise where asked or worth it.

    Args:
        split: the network's parts.
        wanted: ``auto``, ``int8`` or ``fp32``.
        minimum_agreement: the share of equal first classes an 8-bit trunk must reach.
        images: for calibration and comparison, normalised.
        float_features: of the float trunk for them.
        reference: the original network, or None where its weights are random and agreement means nothing.

    Returns:
        The trunk; with ``auto`` the 8-bit one where it agrees enough (always for random weights).

    Raises:
        BundleError: when ``int8`` was asked for and agrees too little.
    """
    if wanted == FP32:
        return TrunkChoice(split.trunk, FP32, None, None)
    quantised = infer_shapes(quantize_trunk(split.trunk, images))
    classes = np.zeros(len(images), np.int64)
    if reference is not None:
        classes = np.concatenate([reference(batch).argmax(axis=1) for batch in in_batches(images)]).astype(np.int64)
    agreement, noise = agreement_in_fresh_process(quantised, split, images, float_features, classes)
    if reference is None:
        return TrunkChoice(
            quantised, INT8, None, noise, "random weights: agreement of the 8-bit trunk was not asked for"
        )
    if agreement >= minimum_agreement:
        return TrunkChoice(quantised, INT8, agreement, noise)
    found = f"agrees on the first class for {agreement:.1%} of {len(images)} images, below {minimum_agreement:.1%}"
    if wanted == INT8:
        raise BundleError(f"the 8-bit trunk {found}; use --trunk-dtype fp32, or lower --min-agreement knowingly")
    return TrunkChoice(split.trunk, FP32, agreement, noise, f"float32 was taken: the 8-bit trunk {found}")
