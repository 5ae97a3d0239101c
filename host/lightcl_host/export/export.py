"""From a model to a verified bundle on disk."""

import time
from dataclasses import replace
from typing import Any

from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import BundleError
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.export.checks import check_export
from lightcl_host.export.content import files_of, manifest_of
from lightcl_host.export.cut_choice import CutChoice, pick_cut
from lightcl_host.export.document import export_document
from lightcl_host.export.options import ExportOptions
from lightcl_host.export.parts import make_parts
from lightcl_host.export.replaced_bundle import identity_at, note_replaced
from lightcl_host.export.signing import signer
from lightcl_host.pruning.pruning import PruningOptions, PruningRecord, prune_source
from lightcl_host.sources.failure_reason import blaming
from lightcl_host.sources.source import Source, open_source
from lightcl_host.trunks.dtype_choice import planned_dtype


def export_bundle(options: ExportOptions, progress: Progress, source: Source | None = None) -> dict[str, Any]:
    """Export, verify and write a bundle.

    Raises:
        LightclError: when the model, the cut, the data or the result can't be used; nothing is written then.
    """
    started = time.monotonic()
    check_export(options, progress)
    sign = signer(options.sign, options.release)
    if source is None:
        progress.note(f"exporting {options.source.model} to ONNX")
        source = open_source(options.source)
        for note in source.notes:
            progress.note(note)
    with blaming(source.name, "cut and exported", "try another --cut, exporter or opset", BundleError):
        source, choice, pruning = _cut_and_prune(options, source, progress)
        parts = make_parts(options, source, choice.cut, progress)
    manifest = manifest_of(options, source, choice, pruning, parts)
    replaced = identity_at(options.out)
    written = write_bundle(options.out, manifest, files_of(options, source, parts), sign)
    note_replaced(options.out, replaced, progress)
    return export_document(options, source, choice, pruning, parts, written) | {"seconds": time.monotonic() - started}


def _cut_and_prune(
    options: ExportOptions, source: Source, progress: Progress
) -> tuple[Source, CutChoice, PruningRecord | None]:
    """Choose the cut; with ``--sparsity``, the network is a smaller one with the same cut afterwards."""
    planned = planned_dtype(options.trunk_dtype)
    choice = pick_cut(source, find_cuts(source.graph), options.cut, options.analysis, options.device, planned)
    if not options.sparsity:
        return source, choice, None
    asked = PruningOptions(options.sparsity, options.recovery_epochs, options.calibration, options.seed)
    source, pruning = prune_source(source, choice.cut, asked, progress)
    return source, replace(choice, cut=choose_by_name(find_cuts(source.graph), choice.cut.name)), pruning
