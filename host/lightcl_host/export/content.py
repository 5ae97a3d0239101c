"""The manifest and the files of a bundle, from its parts."""

from lightcl_edge.bundle.bundle import BUFFER
from lightcl_edge.bundle.manifest import Manifest, ModelInfo, TrainingDefaults
from lightcl_host.export.cut_choice import CutChoice, providers_of
from lightcl_host.export.options import ExportOptions
from lightcl_host.export.parts import Parts, checked_bytes
from lightcl_host.export.provenance import provenance
from lightcl_host.graphs.counts import count_cost
from lightcl_host.graphs.graph import MINIMUM_ONNXRUNTIME, OPSET
from lightcl_host.graphs.tensor_bytes import tensors_to_bytes
from lightcl_host.pruning.pruning import PruningRecord
from lightcl_host.sources.source import Source
from lightcl_host.trunks.golden import golden_info


def manifest_of(
    options: ExportOptions, source: Source, choice: CutChoice, pruning: PruningRecord | None, parts: Parts
) -> Manifest:
    """The manifest, still without its table of files."""
    split, trunk = parts.split, parts.trunk
    return Manifest(
        model=ModelInfo(source.name, source.weights, choice.cut.name, trunk.dtype, OPSET, MINIMUM_ONNXRUNTIME),
        input=source.input_info,
        feature=parts.feature,
        head=parts.steps.head,
        golden=golden_info(len(parts.golden["images"]), trunk.dtype),
        cost=count_cost(split.trunk, trunk.model, split.head, split.head_info.patterns),
        defaults=TrainingDefaults(),
        classes=parts.classes,
        training_step=parts.steps.records,
        provenance=provenance(options.seed, source, parts, pruning) | choice.provenance(),
        providers=providers_of(options.device or choice.figures.get("device")),
    )


def files_of(options: ExportOptions, source: Source, parts: Parts) -> dict[str, bytes]:
    """Path in the bundle -> content."""
    files = {
        "trunk.onnx": parts.trunk_bytes,
        "head.onnx": checked_bytes(parts.split.head),
        "head.safetensors": tensors_to_bytes(parts.split.parameters()),
        "golden.safetensors": tensors_to_bytes(parts.golden),
        **parts.steps.files,
    }
    if parts.seeded is not None:
        files[BUFFER] = tensors_to_bytes(parts.seeded.buffer.tensors())
    if options.with_baselines:
        from lightcl_host.sources.whole_network import whole_network

        files["model.onnx"] = checked_bytes(whole_network(source))
    return files
