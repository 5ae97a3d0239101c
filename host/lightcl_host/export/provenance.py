"""Who made a bundle, and from what; nothing here changes from run to run."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightcl_edge import __version__
from lightcl_host.export.parts import Parts
from lightcl_host.pruning.pruning import PruningRecord
from lightcl_host.sources.source import Source
from lightcl_host.trunks.dtype_choice import FP32

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


def provenance(seed: int, source: Source, parts: Parts, pruning: PruningRecord | None) -> dict[str, Any]:
    """The manifest's ``provenance``: texts and numbers."""
    trunk = parts.trunk
    found: dict[str, Any] = {
        "tool": f"lightcl-host {__version__}",
        "seed": seed,
        "calibration": parts.samples.all.origin,
        "calibration_images": len(parts.samples.calibration_images),
        "float_max_relative_difference": parts.difference,
        "random_weights": int(source.random_weights),
    }
    if source.assumed:
        found["input_assumed"] = ", ".join(source.assumed)
    found |= parts.taps.provenance()
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
