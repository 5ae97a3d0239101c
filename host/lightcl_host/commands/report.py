"""An exported bundle as text."""

from __future__ import annotations

from lightcl_edge.console.text import Document, format_bytes, table


def render_export(document: Document) -> str:
    """The text of ``export`` and ``prepare``.

    Args:
        document: of :func:`lightcl_host.export.export.export_bundle`.

    Returns:
        Lines for a person.
    """
    noise = document["feature_signal_to_noise_db"]
    agreement = document["int8_top1_agreement"]
    shape = "x".join(str(side) for side in document["feature_shape"])
    lines = [
        f"bundle      {document['bundle']} ({format_bytes(document['bytes'])}, {document['seconds']:.0f} s)",
        f"model       {document['model']}, weights {document['weights']}",
        f"cut         {document['cut']}, chosen by {document['cut_chosen_by']}",
        f"feature     {shape}, {format_bytes(document['feature_bytes'])} stored, "
        f"signal to noise of storing it {_decibels(noise['uint8_storage'])}",
        f"trunk       {document['trunk_dtype']}",
        f"verified    largest relative difference to the original {document['float_max_relative_difference']:.2g}",
    ]
    if noise["int8_trunk"] is not None:
        share = "not asked of random weights" if agreement is None else f"{agreement:.1%}"
        channels = document["trunk_quality"]["lowest_tenth_db"]
        name = "fp16" if document["trunk_dtype"] == "fp16" else "int8"
        lines.append(
            f"{name}        first class equal {share}, signal to noise {_decibels(noise['int8_trunk'])}, nine of ten "
            f"channels above {channels:.1f} dB ({_checked_with(document, name)})"
        )
    if document["pruning"] is not None:
        lines.append(_pruning(document["pruning"]))
    if document["calibration"]["skipped"]:
        lines.append(f"skipped     {document['calibration']['skipped']} images could not be read")
    if document["note"]:
        lines.append(f"note        {document['note']}")
    rows = [[entry["path"], format_bytes(entry["bytes"])] for entry in document["files"]]
    return "\n".join(lines) + "\n\n" + table(rows, ["file", "size"])


def _checked_with(document: Document, dtype: str) -> str:
    """On which images a trunk of fewer bits was compared with the original."""
    checked, calibration = document["trunk_checked_with"], document["calibration"]
    images = f"checked with {checked['images']} images of {calibration['origin']}"
    if dtype == "fp16":
        return images
    if checked["also_calibrated_with"]:
        return f"{images}, the same that calibrated it"
    return f"{images}; {calibration['images']} others calibrated it"


def _pruning(record: Document) -> str:
    """What was removed and what it cost."""
    weights = f"{record['parameters_before']} to {record['parameters_after']} weights"
    removed = f"{record['sparsity']:.0%} of the channels, {weights}"
    if record["accuracy_loss"] is None:
        return f"pruned      {removed}; the loss of accuracy was not measured (no images, or random weights)"
    return (
        f"pruned      {removed}; accuracy of a ridge classifier {record['accuracy_before']:.1%}, pruned "
        f"{record['accuracy_pruned']:.1%}, recovered {record['accuracy_after']:.1%} ({record['test_images']} images)"
    )


def _decibels(value: float | None) -> str:
    return "without loss" if value is None else f"{value:.1f} dB"
