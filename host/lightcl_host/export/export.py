"""From a model to a verified bundle on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightcl_edge.bundle.bundle import BUFFER, Bundle
from lightcl_edge.bundle.manifest import Manifest, ModelInfo, TrainingDefaults
from lightcl_edge.bundle.signature import read_private_key, sign_manifest
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import LightclError, UsageError
from lightcl_host.autodiff.training_step import step_graphs
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.export.checks import check_export
from lightcl_host.export.class_names import read_class_names
from lightcl_host.export.cut_choice import CutChoice, pick_cut, providers_of
from lightcl_host.export.options import ExportOptions
from lightcl_host.export.provenance import provenance
from lightcl_host.export.seed_buffer import SeedOptions, seed_buffer
from lightcl_host.graphs.counts import count_cost
from lightcl_host.graphs.graph import MINIMUM_ONNXRUNTIME, OPSET
from lightcl_host.graphs.tensor_bytes import tensors_to_bytes
from lightcl_host.pruning.pruning import PruningOptions, PruningRecord, prune_source
from lightcl_host.sources.source import Source, open_source
from lightcl_host.trunks.calibration import CALIBRATION_IMAGES, Calibration, calibration_images, divide
from lightcl_host.trunks.choice import (
    Comparison,
    TrunkChoice,
    choose_trunk,
    planned_dtype,
    trunk_features,
)
from lightcl_host.trunks.feature_storage import feature_info, signal_to_noise_db
from lightcl_host.trunks.golden import GOLDEN_IMAGES, golden_info, golden_values
from lightcl_host.trunks.verification import verify_in_fresh_process

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class _Parts:
    """Everything that has been made and checked before a byte is written."""

    source: Source
    choice: CutChoice
    split: Split
    trunk: TrunkChoice
    calibration: Calibration
    checked: Calibration
    classes: list[str]
    difference: float
    storage_noise_db: float | None
    manifest: Manifest
    pruning: PruningRecord | None = None
    files: dict[str, bytes] = field(default_factory=dict)


def export_bundle(options: ExportOptions, progress: Progress, source: Source | None = None) -> dict[str, Any]:
    """Export, verify and write a bundle.

    Args:
        options: what and how.
        progress: told what is going on.
        source: the model if it is already open.

    Returns:
        The document that ``lightcl-host export --json`` prints.

    Raises:
        LightclError: when the model, the cut, the data or the result is not usable; nothing is written then.
    """
    started = time.monotonic()
    check_export(options)
    sign = signer(options.sign, options.release)
    if source is None:
        progress.note(f"exporting {options.source.model} to ONNX")
        source = open_source(options.source)
    planned = planned_dtype(options.trunk_dtype)
    choice = pick_cut(source, find_cuts(source.graph), options.cut, options.analysis, options.device, planned)
    pruning = None
    if options.sparsity:
        asked = PruningOptions(options.sparsity, options.recovery_epochs, options.calibration, options.seed)
        source, pruning = prune_source(source, choice.cut, asked, progress)
        choice = replace(choice, cut=choose_by_name(find_cuts(source.graph), choice.cut.name))
    parts = _make(options, source, choice, pruning, progress)
    replaced = identity_at(options.out)
    written = write_bundle(options.out, parts.manifest, parts.files, sign)
    note_replaced(options.out, replaced, progress)
    return _document(options, parts, written, time.monotonic() - started)


def _make(
    options: ExportOptions, source: Source, choice: CutChoice, pruning: PruningRecord | None, progress: Progress
) -> _Parts:
    """Make and verify all parts."""
    cut = choice.cut
    split = split_graph(source.graph, cut, options.capacity, options.keep_classes is not None, options.seed)
    classes = read_class_names(options.keep_classes, len(split.original.bias))
    loaded = calibration_images(options.calibration, source.input_info, options.seed, 2 * CALIBRATION_IMAGES)
    calibration, others = divide(loaded)
    images = calibration.images
    progress.note(f"checking the cut at {cut.name} in a fresh process")
    checked = images[:GOLDEN_IMAGES]
    difference = verify_in_fresh_process(source.graph, split, checked, source.reference(checked))
    features = trunk_features(split.trunk, images)
    storage = feature_info(features)
    progress.note(f"preparing the trunk with {len(images)} images ({calibration.origin})")
    reference = None if source.random_weights else source.reference
    comparison = Comparison(others.images, trunk_features(split.trunk, others.images), reference)
    trunk = choose_trunk(split, options.trunk_dtype, options.minimum_agreement, images, comparison)
    trunk_bytes = _checked_bytes(trunk.model)
    memory = None
    if options.seed_buffer is not None:
        chosen = SeedOptions(options.seed_buffer, options.seed_buffer_size, options.seed)
        parts = trunk.model, trunk_bytes, split, storage
        memory = seed_buffer(chosen, source.input_info, *parts, classes, progress)
        classes = memory.classes
    golden = golden_values(trunk.model, split.head, calibration)
    defaults = TrainingDefaults()
    progress.stage("making the graphs of the training step")
    batch_sizes, buffered = [defaults.batch_size], defaults.buffer_samples
    steps = step_graphs(split.head, split.head_info, storage.shape, batch_sizes, buffered)
    manifest = Manifest(
        model=ModelInfo(source.name, source.weights, cut.name, trunk.dtype, OPSET, MINIMUM_ONNXRUNTIME),
        input=source.input_info,
        feature=storage,
        head=steps.head,
        golden=golden_info(len(golden["images"]), trunk.dtype),
        cost=count_cost(split.trunk, trunk.model, split.head, split.head_info.patterns),
        defaults=defaults,
        classes=classes,
        training_step=steps.records,
        provenance=provenance(
            options.seed, calibration, trunk, difference, random_weights=source.random_weights, pruning=pruning
        )
        | choice.provenance(),
        providers=providers_of(options.device or choice.figures.get("device")),
    )
    files = {
        "trunk.onnx": trunk_bytes,
        "head.onnx": _checked_bytes(split.head),
        "head.safetensors": tensors_to_bytes(split.parameters()),
        "golden.safetensors": tensors_to_bytes(golden),
        **steps.files,
    }
    if memory is not None:
        files[BUFFER] = tensors_to_bytes(memory.buffer.tensors())
    if options.with_baselines:
        from lightcl_host.sources.whole_network import whole_network

        files["model.onnx"] = _checked_bytes(whole_network(source))
    codec = FeatureCodec(storage)
    noise = signal_to_noise_db(features, codec.decode(codec.encode(features)))
    return _Parts(
        source, choice, split, trunk, calibration, others, classes, difference, noise, manifest, pruning, files
    )


def _checked_bytes(model: onnx.ModelProto) -> bytes:
    """The file's content, after the onnx library's own full check."""
    import onnx

    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _document(options: ExportOptions, parts: _Parts, written: Manifest, seconds: float) -> dict[str, Any]:
    manifest_bytes = len(written.to_json())
    files = [{"path": entry.path, "bytes": entry.bytes} for entry in written.files]
    files.append({"path": "manifest.json", "bytes": manifest_bytes})
    return {
        "bundle": str(options.out),
        "model": parts.source.name,
        "weights": parts.source.weights,
        "cut": parts.choice.cut.name,
        "cut_chosen_by": parts.choice.chosen_by,
        "choice": parts.choice.figures,
        "feature_shape": list(parts.choice.cut.shape),
        "feature_bytes": parts.choice.cut.feature_bytes,
        "trunk_dtype": parts.trunk.dtype,
        "float_max_relative_difference": parts.difference,
        "int8_top1_agreement": parts.trunk.agreement,
        "feature_signal_to_noise_db": {
            "int8_trunk": parts.trunk.signal_to_noise_db,
            "uint8_storage": parts.storage_noise_db,
        },
        "trunk_quality": None if parts.trunk.quality is None else vars(parts.trunk.quality),
        "float_convolutions": parts.trunk.float_convolutions,
        "trunk_tries": [{"float_convolutions": kept, **vars(quality)} for kept, quality in parts.trunk.tries],
        "calibration": {
            "origin": parts.calibration.origin,
            "images": len(parts.calibration.images),
            "skipped": parts.calibration.skipped,
        },
        "trunk_checked_with": {
            "images": len(parts.checked.images),
            "also_calibrated_with": parts.checked is parts.calibration,
        },
        "pruning": None if parts.pruning is None else parts.pruning.document(),
        "signed": options.sign is not None,
        "classes": parts.classes,
        "capacity": options.capacity,
        "note": parts.trunk.note,
        "files": files,
        "bytes": sum(int(str(entry["bytes"])) for entry in files),
        "seconds": seconds,
    }


_SHOWN = 12


def identity_at(path: Path) -> str | None:
    """Which bundle is at a path.

    Args:
        path: of a folder or ``.lclb`` file.

    Returns:
        The identity, ``""`` where a bundle is damaged, None where there is none.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    try:
        return Bundle.open(path).identity
    except LightclError:
        return ""


def note_replaced(path: Path, before: str | None, progress: Progress) -> None:
    """Say that another bundle was at a path before.

    Args:
        path: where a bundle was written.
        before: what :func:`identity_at` found there; the same bundle again is nothing to tell.
        progress: prints the note.
    """
    now = Bundle.open(path).identity
    if before is None or before == now:
        return
    old = f"bundle {before[:_SHOWN]}" if before else "a damaged bundle"
    progress.note(
        f"{path}: {old} was replaced by {now[:_SHOWN]}; states made with the old one keep their own copy of it and go "
        "on with that, the new one needs states of its own"
    )


def signer(key: Path | None, release: int | None) -> Callable[[bytes], bytes] | None:
    """What makes a bundle's signature.

    Args:
        key: PEM file of the private key; None for no signature.
        release: the bundle's number, larger than those of earlier ones; None for the seconds since 1970, which are.

    Returns:
        From the manifest's bytes to those of ``manifest.sig``; None without a key.

    Raises:
        UsageError: when the key can't be used, or a release is given without one.
    """
    if key is None:
        if release is not None:
            raise UsageError("--release belongs to --sign KEY; without a signature nobody looks at it")
        return None
    number = int(time.time()) if release is None else release
    if not 0 <= number < 2**53:
        raise UsageError(f"--release {number}; expected a whole number of 0 or more")
    private = read_private_key(key)
    return lambda manifest: sign_manifest(manifest, private, number)
