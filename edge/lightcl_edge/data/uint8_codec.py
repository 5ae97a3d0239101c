"""Features as uint8 and back (affine quantisation)."""

import numpy as np

from lightcl_edge.bundle.manifest import FeatureInfo
from lightcl_edge.files.tensors import ByteArray, FloatArray


class FeatureCodec:
    """Turns float features into bytes and back: ``real = (stored - zero_point) * scale``.

    Args:
        info: shape, scales and zero points (one, or one a channel).
    """

    def __init__(self, info: FeatureInfo) -> None:
        self.shape = tuple(info.shape)
        sides = [1] * len(self.shape)
        sides[info.channel_axis] = -1
        self._scale = np.asarray(info.scale, np.float32).reshape(sides)
        self._zero_point = np.asarray(info.zero_point, np.float32).reshape(sides)

    def encode(self, features: FloatArray) -> ByteArray:
        """Round to the nearest step and clip to 0..255; shape ``(n, *shape)`` stays."""
        stored = features / self._scale
        stored += self._zero_point
        np.rint(stored, out=stored)
        np.clip(stored, 0, 255, out=stored)
        return stored.astype(np.uint8)

    def decode(self, stored: ByteArray) -> FloatArray:
        """The real values of stored bytes; shape ``(n, *shape)`` stays."""
        real = stored.astype(np.float32)
        real -= self._zero_point
        real *= self._scale
        return real
