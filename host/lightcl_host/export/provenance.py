"""Who made a bundle, and from what; nothing here changes from run to run."""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightcl_edge import __version__
from lightcl_host.export.parts import Parts
from lightcl_host.graphs.counts import parameter_bytes, peak_activation_bytes
from lightcl_host.pruning.pruning import PruningRecord
from lightcl_host.sources.source import Source
from lightcl_host.trunks.dtype_choice import FP32, TrunkChoice

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")
#: What decided on the trunk's type.
ACCURACY, NEIGHBOURS = "accuracy", "neighbours"


def judged_by(trunk: TrunkChoice) -> str | None:
    """By what a trunk of fewer bits was judged; None where it was not."""
    if trunk.quality is None or not trunk.judged:
        return None
    return NEIGHBOURS if trunk.quality.accuracy is None else ACCURACY


def trunk_memory(parts: Parts) -> dict[str, int]:
    """Bytes of weights and of the most activations alive at one time, of the exported trunk and the float one."""
    models = {"trunk_memory_bytes": parts.trunk.model, "trunk_float32_memory_bytes": parts.split.trunk}
    return {name: parameter_bytes(model) + peak_activation_bytes(model) for name, model in models.items()}


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
    by = judged_by(trunk)
    if by is not None and trunk.quality is not None:
        quality = asdict(trunk.quality)
        found["trunk_judged_by"] = by
        kept = ("neighbours_kept",) if by == NEIGHBOURS else ("neighbours_kept", "accuracy", "float32_accuracy")
        found |= {f"trunk_{name}": quality[name] for name in kept}
    if trunk.quality is not None and trunk.dtype != FP32:
        found["trunk_lowest_tenth_channels_db"] = trunk.quality.lowest_tenth_db
        found["trunk_float_convolutions"] = trunk.float_convolutions
        found |= trunk_memory(parts)
    if pruning is not None:
        known = {key: value for key, value in pruning.document().items() if value is not None}
        found.update({f"pruning_{key}": value for key, value in known.items()})
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
