"""Images to features: the frozen trunk in ONNX Runtime, and the check that it is the host's trunk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import TRUNK, Bundle
from lightcl_edge.data.decoding import normalise
from lightcl_edge.errors import MixedBundleError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.providers import ProviderChoice, wanted
from lightcl_edge.inference.sessions import inference_session


class Trunk:
    """The frozen part of a bundle's network.

    Args:
        bundle: where its graph is.
        threads: processors to use; None for all.
        provider: ``tensorrt``, ``cuda`` or ``cpu``; None for the bundle's wish.

    Raises:
        BundleError: when the graph is damaged.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, provider: str | None = None) -> None:
        self._input = bundle.manifest.input
        self._shape = tuple(bundle.manifest.feature.shape)
        self._session = inference_session(
            bundle.path(TRUNK),
            threads,
            fast=True,
            providers=wanted(provider, bundle.manifest),
            dtype=bundle.manifest.model.trunk_dtype,
        )

    @property
    def provider(self) -> ProviderChoice:
        """What computes it, and why."""
        return self._session.provider

    def features(self, images: FloatArray) -> FloatArray:
        """Features of normalised images.

        Args:
            images: shape ``(n, 3, height, width)``.

        Returns:
            Shape ``(n, *feature_shape)``.

        Raises:
            BundleError: when the trunk gives another shape than the manifest says.
        """
        features = self._session.run(["features"], {"image": images})[0]
        if features.shape[1:] != self._shape:
            raise MixedBundleError(
                f"trunk.onnx gives features of shape {features.shape[1:]}, the manifest says {self._shape}"
            )
        return features

    def features_of_pixels(self, images: NDArray[np.uint8]) -> FloatArray:
        """Features of RGB images at input size, shape ``(n, height, width, 3)``."""
        return self.features(normalise(images, self._input))
