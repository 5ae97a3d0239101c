"""Is this the host's trunk? The golden images tell: here they must give the host's features, logits and taps."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import HEAD, Bundle
from lightcl_edge.bundle.graph_names import FEATURES, LOGITS, TAPS
from lightcl_edge.errors import BundleError, MixedBundleError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.head import HeadSession
from lightcl_edge.inference.sessions import inference_session
from lightcl_edge.inference.trunk import Trunk
from lightcl_edge.machine.freeing import give_back


def relative_error(found: FloatArray, expected: FloatArray) -> float:
    """Root mean square of the difference over root mean square of what was expected."""
    scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    error = float(np.sqrt(np.mean(np.square(np.subtract(found, expected, dtype=np.float64)))))
    return error / scale if scale > 0 else error


def check_golden(bundle: Bundle, threads: int | None = None, provider: str | None = None) -> dict[str, float]:
    """Run the bundle's golden images here: the errors of features, logits and taps against the host's results.

    Raises BundleError when an error is above the manifest's tolerance.
    """
    golden, info = bundle.golden(), bundle.manifest
    images = golden["images"]
    wanted = (info.golden.count, info.input.height, info.input.width, 3)
    if images.dtype != np.uint8 or images.shape != wanted:
        raise BundleError(f"golden.safetensors: images are {images.dtype} {images.shape}, expected uint8 {wanted}")
    if golden[TAPS].shape[1:] != (info.head.tap_size,):
        raise BundleError(
            f"golden.safetensors: taps have the shape {golden[TAPS].shape}, expected {info.head.tap_size} numbers an "
            "image as manifest.json says; export the bundle again"
        )
    features = Trunk(bundle, threads, provider).features_of_pixels(images.astype(np.uint8, copy=False))
    give_back()  # the memory of one session must not add to that of the next
    logits, taps = inference_session(bundle.path(HEAD), threads).run([LOGITS, TAPS], {FEATURES: features})
    give_back()
    learned = HeadSession(bundle, bundle.head_parameters(), threads).logits(features)
    if learned.shape != logits.shape or not relative_error(learned, logits) <= info.golden.logit_tolerance:
        raise MixedBundleError(
            "head.safetensors holds other weights than head.onnx: they are not of one bundle; copy the bundle again"
        )
    return {
        "feature_error": _checked_error("feature", features, golden, info.golden.feature_tolerance),
        "logit_error": _checked_error("logit", logits, golden, info.golden.logit_tolerance),
        "tap_error": _checked_error("tap", taps, golden, info.golden.logit_tolerance),
    }


def _checked_error(name: str, found: FloatArray, golden: Mapping[str, NDArray[np.generic]], limit: float) -> float:
    expected = golden[f"{name}s"].astype(np.float32, copy=False)
    if expected.shape != found.shape:
        raise MixedBundleError(f"golden {name}s have shape {expected.shape}, this machine gives {found.shape}")
    error = relative_error(found, expected)
    if not error <= limit:
        raise MixedBundleError(
            f"on this machine the {name}s of the golden images differ from the host's by {error:.2e} (relative), "
            f"expected at most {limit:.2e}; export with --trunk-dtype fp32, or check that trunk and head are of one "
            "bundle"
        )
    return error
