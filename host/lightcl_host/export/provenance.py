"""Who made a bundle from what: the manifest's free keys, without anything that changes from run to run."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightcl_edge import __version__
from lightcl_host.pruning.pruning import PruningRecord
from lightcl_host.trunks.calibration import Calibration
from lightcl_host.trunks.choice import FP32, TrunkChoice

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


def provenance(
    seed: int,
    calibration: Calibration,
    trunk: TrunkChoice,
    difference: float,
    *,
    random_weights: bool,
    pruning: PruningRecord | None = None,
) -> dict[str, Any]:
    """The keys that stand in ``manifest.json`` under ``provenance``.

    Args:
        seed: of the export.
        calibration: the images that were used.
        trunk: the exported one.
        difference: largest relative difference between the parts and the original.
        random_weights: whether the network was never trained.
        pruning: what was removed, or None.

    Returns:
        Key -> text or number.
    """
    found: dict[str, Any] = {
        "tool": f"lightcl-host {__version__}",
        "seed": seed,
        "calibration": calibration.origin,
        "calibration_images": len(calibration.images),
        "float_max_relative_difference": difference,
        "random_weights": int(random_weights),
    }
    if trunk.agreement is not None:
        found["int8_top1_agreement"] = trunk.agreement
    if trunk.quality is not None and trunk.dtype != FP32:
        found["trunk_lowest_tenth_channels_db"] = trunk.quality.lowest_tenth_db
        found["trunk_float_convolutions"] = trunk.float_convolutions
    if pruning is not None:
        known = {key: value for key, value in pruning.document().items() if value is not None}
        found.update({f"pruning_{key}": value for key, value in known.items()})
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
