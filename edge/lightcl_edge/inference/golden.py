"""Is this the host's trunk?."""

from __future__ import annotations

import numpy as np

from lightcl_edge.bundle.bundle import HEAD, Bundle
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
