"""Images to features: the frozen trunk in ONNX Runtime, and the check that it is the host's trunk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import HEAD, TRUNK, Bundle
from lightcl_edge.data.decoding import normalise
from lightcl_edge.errors import BundleError
from lightcl_edge.head_session import HeadSession
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.providers import ProviderChoice, wanted
from lightcl_edge.refusals import MixedBundleError
from lightcl_edge.sessions import inference_session

FloatArray = NDArray[np.float32]


class Trunk:
    """The frozen part of a bundle's network.

    Args:
        bundle: where its graph is.
        threads: processors to use; None for all.
        provider: ``tensorrt``, ``cuda`` or ``cpu``; None for what the bundle wants (``lightcl_edge.providers``).

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


def relative_error(found: FloatArray, expected: FloatArray) -> float:
    """Root mean square of the difference over root mean square of what was expected."""
    scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    error = float(np.sqrt(np.mean(np.square(np.subtract(found, expected, dtype=np.float64)))))
    return error / scale if scale > 0 else error


def check_golden(bundle: Bundle, threads: int | None = None, provider: str | None = None) -> dict[str, float]:
    """Run the bundle's golden images here and compare with what the host got.

    Args:
        bundle: the bundle.
        threads: processors to use.
        provider: as :class:`Trunk` takes it.

    Returns:
        ``feature_error`` and ``logit_error``, as :func:`relative_error`.

    Raises:
        BundleError: when either is beyond the manifest's tolerance.
    """
    golden = bundle.golden()
    info = bundle.manifest
    images = golden["images"]
    wanted = (info.golden.count, info.input.height, info.input.width, 3)
    if images.dtype != np.uint8 or images.shape != wanted:
        raise BundleError(f"golden.safetensors: images are {images.dtype} {images.shape}, expected uint8 {wanted}")
    features = Trunk(bundle, threads, provider).features_of_pixels(images.astype(np.uint8, copy=False))
    give_back()  # what one session leaves behind must not stand beside the next
    logits = inference_session(bundle.path(HEAD), threads).run(["logits"], {"features": features})[0]
    give_back()
    learned = HeadSession(bundle, bundle.head_parameters(), threads).logits(features)
    if learned.shape != logits.shape or not relative_error(learned, logits) <= info.golden.logit_tolerance:
        raise MixedBundleError(
            "head.safetensors holds other weights than head.onnx: they are not of one bundle; copy the bundle again"
        )
    errors = {}
    for name, found, limit in (
        ("feature", features, info.golden.feature_tolerance),
        ("logit", logits, info.golden.logit_tolerance),
    ):
        expected = golden[f"{name}s"].astype(np.float32, copy=False)
        if expected.shape != found.shape:
            raise MixedBundleError(f"golden {name}s have shape {expected.shape}, this machine gives {found.shape}")
        errors[f"{name}_error"] = relative_error(found, expected)
        if not errors[f"{name}_error"] <= limit:
            raise MixedBundleError(
                f"on this machine the {name}s of the golden images differ from the host's by "
                f"{errors[f'{name}_error']:.2e} (relative), expected at most {limit:.2e}; "
                "export with --trunk-dtype fp32, or look whether trunk and head are of one bundle"
            )
    return errors
