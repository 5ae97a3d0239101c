"""Images to features: the frozen trunk in ONNX Runtime."""

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.errors import MixedBundleError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.providers import ProviderChoice, wanted
from lightcl_edge.inference.sessions import inference_session
from lightcl_edge.machine.freeing import OPENING_THRESHOLD_BYTES, return_freed_memory


def normalise(images: NDArray[np.uint8], info: InputInfo, out: FloatArray | None = None) -> FloatArray:
    """``(pixel / 255 - mean) / std``, shape ``(n, 3, height, width)``, of RGB images ``(n, height, width, 3)``.

    It is written to ``out``, if given.
    """
    scale = 1.0 / (255.0 * np.asarray(info.std, np.float64))
    shift = np.asarray(info.mean, np.float64) / np.asarray(info.std, np.float64)
    ordered = images[..., ::-1] if info.channel_order == "BGR" else images
    planes = np.empty((len(images), 3, *images.shape[1:3]), np.float32) if out is None else out
    np.copyto(planes, ordered.transpose(0, 3, 1, 2))
    planes *= scale.astype(np.float32)[:, None, None]
    planes -= shift.astype(np.float32)[:, None, None]
    return planes


class Trunk:
    """The frozen part of a bundle's network. ``provider`` is None for what the bundle wants.

    Raises BundleError when the graph is damaged.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, provider: str | None = None) -> None:
        manifest = bundle.manifest
        self._input, self._shape = manifest.input, tuple(manifest.feature.shape)
        path, order = bundle.path(TRUNK), wanted(provider, manifest)
        return_freed_memory(OPENING_THRESHOLD_BYTES)
        try:
            self._session = inference_session(
                path, threads, fast=True, providers=order, dtype=manifest.model.trunk_dtype
            )
        finally:
            return_freed_memory()
        #: Of the last batch: the next one of its size is written over it, which saves the system new pages.
        self._planes = np.empty((0, 3, self._input.height, self._input.width), np.float32)

    @property
    def provider(self) -> ProviderChoice:
        """What computes the trunk, and why."""
        return self._session.provider

    def features_of_pixels(self, images: NDArray[np.uint8]) -> FloatArray:
        """Features ``(n, *feature_shape)`` of RGB images ``(n, height, width, 3)`` at the trunk's input size.

        Raises MixedBundleError when the trunk gives another shape than the manifest says.
        """
        if len(self._planes) != len(images):
            self._planes = np.empty((len(images), *self._planes.shape[1:]), np.float32)
        features = self._session.run(["features"], {"image": normalise(images, self._input, self._planes)})[0]
        if features.shape[1:] != self._shape:
            raise MixedBundleError(
                f"trunk.onnx gives features of shape {features.shape[1:]}, the manifest says {self._shape}"
            )
        return features
