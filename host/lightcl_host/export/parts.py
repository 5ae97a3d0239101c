"""The parts of a bundle, made and checked one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import FeatureInfo, TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.autodiff.training_step import StepGraphs, step_graphs
from lightcl_host.cutting.channel_axis import channel_axis
from lightcl_host.cutting.split import Split
from lightcl_host.export.class_names import kept_classes
from lightcl_host.export.seed_buffer import SeedBuffer, seed_buffer
from lightcl_host.export.tap_choice import TapChoice, cut_network, tapped_split
from lightcl_host.graphs.graph import GraphView
from lightcl_host.trunks.calibration import (
    CALIBRATION_IMAGES,
    Calibration,
    LabelledImages,
    calibration_images,
    divide,
    labelled_images,
)
from lightcl_host.trunks.dtype_choice import (
    AUTO,
    FP32,
    INT8,
    Comparison,
    TrunkChoice,
    choose_trunk,
    trunk_features,
)
from lightcl_host.trunks.feature_storage import feature_info, signal_to_noise_db
from lightcl_host.trunks.golden import GOLDEN_IMAGES, golden_values
from lightcl_host.trunks.kept_int8 import keep_quantisation
from lightcl_host.trunks.verification import verify_in_fresh_process

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.cuts import Cut
    from lightcl_host.export.options import ExportOptions
    from lightcl_host.sources.source import Source


@dataclass(frozen=True)
class Parts:
    """Everything that is made and checked before a byte is written."""

    split: Split  # trunk and head
    taps: TapChoice  # which places of the head are tapped, and why
    difference: float  # largest relative difference between the split and the original network
    samples: Samples  # the images to calibrate and check with, and the float trunk's features of them
    feature: FeatureInfo  # the uint8 form of features
    trunk: TrunkChoice
    trunk_bytes: bytes  # content of its file
    seeded: SeedBuffer | None  # the feature buffer in the bundle and its classes, or None
    golden: dict[str, NDArray[np.generic]]  # tensors that a device must reproduce
    steps: StepGraphs  # graphs of the training step
    classes: list[str]  # names that the bundle knows


@dataclass(frozen=True)
class Samples:
    """Images with the float trunk's features, divided: some calibrate, the others check."""

    all: Calibration
    features: FloatArray  # of all images, from the float trunk, shape ``(n, *feature_shape)``
    calibrating: slice  # which of them calibrate
    checking: slice  # which of them check; the same where there are few

    @property
    def calibration_images(self) -> FloatArray:
        """Normalised, shape ``(n, 3, height, width)``."""
        return self.all.images[self.calibrating]

    @property
    def calibration_features(self) -> FloatArray:
        """Of the images that calibrate."""
        return self.features[self.calibrating]

    def storage_noise_db(self, feature: FeatureInfo) -> float | None:
        """Signal to noise of storing the features in their uint8 form."""
        codec = FeatureCodec(feature)
        return signal_to_noise_db(self.calibration_features, codec.decode(codec.encode(self.calibration_features)))


def make_parts(options: ExportOptions, source: Source, cut: Cut, progress: Progress) -> Parts:
    """Cut a network and make everything that goes into its bundle; LightclError when a check fails."""
    default = cut_network(options, source, cut)
    classes = kept_classes(options.keep_classes, source.classes, len(default.original.bias))
    loaded = calibration_images(options.calibration, source.input_info, options.seed, 2 * CALIBRATION_IMAGES)
    calibrating, checking = divide(len(loaded.images))
    samples = Samples(loaded, trunk_features(default.trunk, loaded.images), calibrating, checking)
    labelled = labelled_images(options.calibration, source.input_info, options.seed)
    split, taps = tapped_split(options, source, cut, default, labelled, samples.features, progress)
    progress.note(f"checking the cut at {cut.name} in a fresh process")
    few = loaded.images[calibrating][:GOLDEN_IMAGES]
    difference = verify_in_fresh_process(source.graph, split, few, source.reference(few))
    feature = feature_info(samples.calibration_features, channel_axis(GraphView(source.graph), cut.tensor))
    count = len(samples.calibration_images)
    progress.note(f"preparing the trunk with {count} images ({loaded.origin})")
    trunk = _choose_trunk(options, source, split, samples, labelled, feature, cut.tensor)
    trunk_bytes = checked_bytes(trunk.model)
    seeded = None
    if options.seed_buffer is not None:
        seeded = seed_buffer(options, source.input_info, trunk.model, trunk_bytes, split, feature, classes, progress)
    golden = _golden(samples, trunk, split)
    progress.stage("making the graphs of the training step")
    defaults = TrainingDefaults()
    steps = step_graphs(split.head, split.head_info, feature.shape, [defaults.batch_size], defaults.buffer_samples)
    known = classes if seeded is None else seeded.classes
    return Parts(split, taps, difference, samples, feature, trunk, trunk_bytes, seeded, golden, steps, known)


def _choose_trunk(
    options: ExportOptions,
    source: Source,
    split: Split,
    samples: Samples,
    labelled: LabelledImages,
    feature: FeatureInfo,
    cut: str,
) -> TrunkChoice:
    images, features = samples.all.images[samples.checking], samples.features[samples.checking]
    judged = not source.random_weights
    info, axis = source.input_info, feature.channel_axis
    comparison = Comparison(split, images, features, labelled, info, axis, options.tolerance, judged)
    if source.quantisation is not None and options.trunk_dtype in (AUTO, INT8):
        model, kept, layers = keep_quantisation(split.trunk, source.quantisation, cut)
        if kept:
            note = f"the file's own 8 bits are kept: {kept} of {layers} layers of the trunk"
            quality = comparison.quality(model)
            return TrunkChoice(model, INT8, quality, judged, note=note, tries=((0, quality),))
    return choose_trunk(options.trunk_dtype, samples.calibration_images, comparison)


def _golden(samples: Samples, trunk: TrunkChoice, split: Split) -> dict[str, NDArray[np.generic]]:
    """The float trunk's features are known already; those of another trunk are computed."""
    features = samples.calibration_features[:GOLDEN_IMAGES]
    if trunk.dtype != FP32:
        features = trunk_features(trunk.model, samples.calibration_images[:GOLDEN_IMAGES])
    return golden_values(samples.all.pixels[samples.calibrating], features, split.head)


def checked_bytes(model: onnx.ModelProto) -> bytes:
    """The content of the model's file, after the onnx library's own full check."""
    import onnx

    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
