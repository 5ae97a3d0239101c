"""What ``lightcl-host export --json`` prints."""

from dataclasses import asdict
from typing import Any

from lightcl_edge.bundle.manifest import Manifest
from lightcl_host.cost.prediction import predict
from lightcl_host.export.cut_choice import CutChoice
from lightcl_host.export.options import ExportOptions
from lightcl_host.export.parts import Parts
from lightcl_host.export.provenance import judged_by, trunk_memory
from lightcl_host.pruning.pruning import PruningRecord
from lightcl_host.sources.source import Source


def export_document(
    options: ExportOptions,
    source: Source,
    choice: CutChoice,
    pruning: PruningRecord | None,
    parts: Parts,
    written: Manifest,
) -> dict[str, Any]:
    """All that an export found, without the seconds it took."""
    model, trunk, samples = written.model, parts.trunk, parts.samples
    sizes = {entry.path: entry.bytes for entry in written.files} | {"manifest.json": len(written.to_json())}
    return {
        "bundle": str(options.out),
        "model": model.name,
        "weights": model.weights,
        "input": {**asdict(source.input_info), "assumed": list(source.assumed)},
        "notes": list(source.notes),
        "cut": choice.cut.name,
        "cut_chosen_by": choice.chosen_by,
        "choice": choice.figures,
        "planned_peak_bytes": predict(written, "ort", strategy="slda").peak_bytes,
        "feature_shape": list(choice.cut.shape),
        "feature_bytes": choice.cut.feature_bytes,
        "taps": parts.taps.document(),
        "trunk_dtype": trunk.dtype,
        "float_max_relative_difference": parts.difference,
        "trunk_judged_by": judged_by(trunk),
        "feature_signal_to_noise_db": {
            "int8_trunk": trunk.signal_to_noise_db,
            "uint8_storage": samples.storage_noise_db(parts.feature),
        },
        "trunk_memory": trunk_memory(parts),
        "trunk_quality": None if trunk.quality is None else vars(trunk.quality),
        "float_convolutions": trunk.float_convolutions,
        "trunk_tries": [{"float_convolutions": kept, **vars(quality)} for kept, quality in trunk.tries],
        "calibration": {
            "origin": samples.all.origin,
            "images": len(samples.calibration_images),
            "skipped": samples.all.skipped,
        },
        "trunk_checked_with": {
            "images": len(samples.all.images[samples.checking]),
            "also_calibrated_with": samples.checking == samples.calibrating,
        },
        "pruning": None if pruning is None else pruning.document(),
        "signed": options.sign is not None,
        "classes": parts.classes,
        "capacity": options.capacity,
        "note": trunk.note,
        "files": [{"path": path, "bytes": size} for path, size in sizes.items()],
        "bytes": sum(sizes.values()),
    }
