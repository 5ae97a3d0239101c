"""Choose the exported trunk: 8-bit where its features serve a task as well, else float32; half precision on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE, TAPS
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.text import count
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.trunk import normalise
from lightcl_host.graphs.runner import GraphRunner, in_batches, run_in_batches
from lightcl_host.graphs.shapes import infer_shapes
from lightcl_host.trunks.calibration import LabelledImages
from lightcl_host.trunks.feature_quality import held_out_hits
from lightcl_host.trunks.fp16 import halve_trunk
from lightcl_host.trunks.int8 import TrunkQuantiser, count_layers
from lightcl_host.trunks.verification import Agreement, agreement_in_fresh_process

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.split import Split


AUTO, INT8, FP32, FP16 = "auto", "int8", "fp32", "fp16"
DTYPES = (AUTO, INT8, FP32, FP16)
#: How many convolutions at the start stay float32 in an 8-bit trunk. The first try that is good enough is taken. The
#: first one reads three channels: it holds hardly any weights, and 8 bits make it slower.
FLOAT_CONVOLUTIONS = (1, 3, 8)
_ROUNDING = 1e-6
#: Accuracy is compared on at most this many labelled images.
_MOST_JUDGED = 512


@dataclass(frozen=True)
class Tolerance:
    """What a trunk of fewer bits may lose."""

    #: of the float trunk's accuracy on labelled images, in points; one image or one standard error is always allowed
    most_lost: float = 1.0
    #: share of images whose nearest neighbour must be among the float trunk's five nearest, where labels are missing
    least_neighbours: float = 0.9


def planned_dtype(wanted: str) -> str:
    """The type that memory is predicted for: ``auto`` may end as float32, which takes the most."""
    return FP32 if wanted == AUTO else wanted


@dataclass(frozen=True)
class TrunkChoice:
    """The trunk that goes into the bundle."""

    model: onnx.ModelProto  # shape-inferred
    dtype: str  # ``int8``, ``fp16`` or ``fp32``
    quality: Agreement | None = None  # of the best trunk of fewer bits that was tried; None where none was
    judged: bool = False  # whether its quality decided; it does not for random weights
    float_convolutions: int = 0  # how many convolutions at its start stay float32
    note: str = ""  # why the trunk is not what a person may expect; ``""`` where it is
    # for each try in order, how many convolutions stayed float32 and how good the trunk was
    tries: tuple[tuple[int, Agreement], ...] = ()

    @property
    def signal_to_noise_db(self) -> float | None:
        """Of all features together; None where nothing was tried."""
        return None if self.quality is None else self.quality.signal_to_noise_db


def trunk_features(trunk: onnx.ModelProto, images: FloatArray) -> FloatArray:
    """Features of normalised images, shape ``(n, *feature_shape)``."""
    return run_in_batches(GraphRunner(trunk), images, IMAGE, FEATURES)


@dataclass(frozen=True)
class Comparison:
    """What trunks of fewer bits are compared with, and on which images."""

    split: Split  # the float trunk and the head, whose taps closed-form classifiers see
    images: FloatArray  # that nothing was calibrated with where there are enough, normalised, ``(n, 3, h, w)``
    features: FloatArray  # of the float trunk for them
    labelled: LabelledImages
    info: InputInfo  # how their pixels become the input
    channel_axis: int = 0  # of a feature's shape
    tolerance: Tolerance = field(default_factory=Tolerance)
    judged: bool = True  # False for random weights, whose features serve no task

    def quality(self, trunk: onnx.ModelProto) -> Agreement:
        """How well a trunk stands in for the float one."""
        found = agreement_in_fresh_process(trunk, self.split, self.images, self.features, self.channel_axis)
        if not (self.judged and len(self.labelled.labels)):
            return found
        hits, expected = self._hits(trunk).astype(np.float64), self._float_hits.astype(np.float64)
        error = float((hits - expected).std() / np.sqrt(len(hits)))
        accuracy, float32_accuracy = float(hits.mean()), float(expected.mean())
        return replace(found, accuracy=accuracy, float32_accuracy=float32_accuracy, accuracy_error=error)

    def shortfall(self, quality: Agreement) -> str:
        """What a trunk lacks, as the end of a sentence; ``""`` for one that is good enough."""
        least = self.tolerance.least_neighbours
        if quality.accuracy is None or quality.float32_accuracy is None or quality.accuracy_error is None:
            if quality.neighbours_kept >= least:
                return ""
            return (
                f"keeps the nearest neighbour of {quality.neighbours_kept:.1%} of the {len(self.images)} images it was "
                f"checked with, below {least:.1%}"
            )
        count = len(self._judged_by.labels)
        lost, most = quality.float32_accuracy - quality.accuracy, self.tolerance.most_lost
        if lost <= max(most / 100, 1 / count, quality.accuracy_error) + _ROUNDING:
            return ""
        return f"loses {100 * lost:.1f} points of accuracy on {count} labelled images, more than {most:g}"

    def badness(self, quality: Agreement) -> float:
        """To order trunks: less is better."""
        return -(quality.neighbours_kept if quality.accuracy is None else quality.accuracy)

    @cached_property
    def _judged_by(self) -> LabelledImages:
        step = -(-len(self.labelled.labels) // _MOST_JUDGED)
        return LabelledImages(self.labelled.pixels[::step], self.labelled.labels[::step])

    @cached_property
    def _float_hits(self) -> NDArray[np.bool_]:
        return self._hits(self.split.trunk)

    def _hits(self, trunk: onnx.ModelProto) -> NDArray[np.bool_]:
        runner, head = GraphRunner(trunk), GraphRunner(self.split.head)
        batches = (normalise(part, self.info) for part in in_batches(self._judged_by.pixels))
        features = (runner({IMAGE: images}, [FEATURES]) for images in batches)
        taps = np.concatenate([head(each, [TAPS])[TAPS] for each in features])
        return held_out_hits(taps, self._judged_by.labels)


def choose_trunk(wanted: str, calibration: FloatArray, comparison: Comparison) -> TrunkChoice:
    """Choose the trunk; ``auto`` takes an 8-bit one where it is good enough, and always for random weights.

    Raises:
        BundleError: when ``int8`` or ``fp16`` was asked for and is not good enough.
    """
    split = comparison.split
    if wanted == FP32:
        return TrunkChoice(split.trunk, FP32)
    best: TrunkChoice | None = None
    best_quality: Agreement | None = None
    tries: list[tuple[int, Agreement]] = []
    for choice in _candidates(split, wanted, calibration):
        quality = comparison.quality(choice.model)
        tries.append((choice.float_convolutions, quality))
        tried = replace(choice, quality=quality, judged=comparison.judged, tries=tuple(tries))
        if not comparison.judged:
            return replace(tried, note=f"random weights: the features of the {_kind(choice)} trunk were not judged")
        if not comparison.shortfall(quality):
            return tried
        if best_quality is None or comparison.badness(quality) < comparison.badness(best_quality):
            best, best_quality = tried, quality
    if best is None or best_quality is None:  # a trunk without a convolution
        return TrunkChoice(split.trunk, FP32, note="float32 was taken: the trunk has no convolution to quantise")
    kept = f" with {count(best.float_convolutions, 'convolution')} in float32" if best.float_convolutions else ""
    found = f"the {_kind(best)} trunk{kept} {comparison.shortfall(best_quality)}"
    if wanted != AUTO:
        option = "--min-agreement" if best_quality.accuracy is None else "--max-loss"
        raise BundleError(f"{found}; use --trunk-dtype fp32, or change {option} knowingly")
    note = f"float32 was taken: {found}"
    return replace(best, model=split.trunk, dtype=FP32, float_convolutions=0, note=note, tries=tuple(tries))


def _candidates(split: Split, wanted: str, calibration: FloatArray) -> Iterator[TrunkChoice]:
    """From the smallest trunk to the most exact."""
    if wanted == FP16:
        yield TrunkChoice(halve_trunk(split.trunk), FP16)
        return
    kinds = [node.op_type for node in split.trunk.graph.node]
    if "Conv" not in kinds:
        return
    layers = count_layers(split.trunk)
    quantiser = TrunkQuantiser(split.trunk, calibration)
    for kept in FLOAT_CONVOLUTIONS if layers > 1 else (0,):
        if kept < layers and kept <= kinds.count("Conv"):
            yield TrunkChoice(infer_shapes(quantiser.quantised(kept)), INT8, float_convolutions=kept)


def _kind(choice: TrunkChoice) -> str:
    return "half-precision" if choice.dtype == FP16 else "8-bit"
