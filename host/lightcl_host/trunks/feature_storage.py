"""The uint8 form of features: a scale and a zero point for each channel, from real images."""

import math

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import FeatureInfo
from lightcl_edge.files.tensors import FloatArray

#: Every channel's range is widened by this share at both ends, because the device meets other images.
RANGE_MARGIN = 0.1
#: A channel that stayed silent during calibration still gets this share of the widest channel's range.
SMALLEST_RANGE = 0.05

#: The figure of a channel without any noise; float32 itself has about 150 dB.
NO_NOISE_DB = 150.0


def feature_info(features: FloatArray, channel_axis: int = 0) -> FeatureInfo:
    """Choose the uint8 form from features of the float trunk, shape ``(n, *feature_shape)``.

    Zero is always exact, because ReLU gives it most often.

    Args:
        channel_axis: of the feature's shape: its channels.
    """
    axes = _other_axes(features, channel_axis)
    low = np.minimum(features.min(axis=axes), 0.0).astype(np.float64) * (1 + RANGE_MARGIN)
    high = np.maximum(features.max(axis=axes), 0.0).astype(np.float64) * (1 + RANGE_MARGIN)
    widest = float((high - low).max()) or 1.0
    missing = np.maximum(SMALLEST_RANGE * widest - (high - low), 0.0)
    high = high + missing
    # features so small that their scale is no normal number are stored as zero
    scale = np.maximum(((high - low) / 255).astype(np.float32), np.finfo(np.float32).tiny)
    zero_point = np.clip(np.rint(-low / scale), 0, 255).astype(np.int64)
    return FeatureInfo(list(features.shape[1:]), [float(value) for value in scale], zero_point.tolist(), channel_axis)


def _other_axes(features: FloatArray, channel_axis: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(features.ndim) if axis != channel_axis + 1)


def signal_to_noise_db(signal: FloatArray, found: FloatArray) -> float | None:
    """``10 log10(sum signal^2 / sum (signal - found)^2)``; None where there is no signal or no noise."""
    power = float(np.square(signal, dtype=np.float64).sum())
    noise = float(np.square(signal.astype(np.float64) - found).sum())
    return 10 * math.log10(power / noise) if power > 0 and noise > 0 else None


def channel_signal_to_noise_db(signal: FloatArray, found: FloatArray, channel_axis: int = 0) -> NDArray[np.float64]:
    """The same for each channel of ``(n, *shape)`` that has any signal; :data:`NO_NOISE_DB` without noise."""
    axes = _other_axes(signal, channel_axis)
    power = np.square(signal, dtype=np.float64).sum(axis=axes)
    noise = np.square(signal.astype(np.float64) - found).sum(axis=axes)
    live = power > 0
    least = power[live] * 10 ** (-NO_NOISE_DB / 10)
    return np.asarray(10 * np.log10(power[live] / np.maximum(noise[live], least)), np.float64)
