"""``lightcl-host export``."""

import argparse
from pathlib import Path
from typing import ClassVar

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes, table
from lightcl_host.commands.arguments import add_export_arguments, add_model_arguments, export_options


class ExportCommand(Command):
    """Cut a network into trunk and head, check both against the original, and write a bundle.

    The trunk is quantised with real images: those of --calibration, or crops of two photographs from scikit-learn. The
    classifier has room for --max-classes classes and knows none yet, unless --keep-classes names the network's own.

    With --cut auto, --analysis decides on the cut. It can also decide for another --device than it was made for. A
    --device without --analysis takes a rule of thumb among the cuts that are predicted to fit. Equal arguments give
    equal bundles, byte for byte.
    """

    name: ClassVar[str] = "export"
    example: ClassVar[str] = "lightcl-host export --model efficientnet_lite0 --calibration digits --out bundle"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.add_argument("--cut", default="auto", metavar="NAME", help="a name that `cuts` lists, or auto (default)")
        parser.add_argument(
            "--analysis",
            type=Path,
            metavar="DIR",
            help="folder that lightcl-host analyze wrote; --cut auto takes the cut that it chose",
        )
        parser.add_argument(
            "--device",
            metavar="P",
            help="device that the bundle of --cut auto must fit (lightcl-host analyze --help lists the names)",
        )
        parser.add_argument(
            "--calibration", metavar="D", help="images that quantise and check the trunk: a data specification"
        )
        add_export_arguments(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_host.export.export import export_bundle

        return export_bundle(export_options(args), args.progress)

    def render(self, document: Document) -> str:
        return render_export(document)


def render_export(document: Document) -> str:
    """The text of ``export`` and ``prepare``, from the document of ``export_bundle``."""
    noise = document["feature_signal_to_noise_db"]
    shape = "x".join(str(side) for side in document["feature_shape"])
    lines = [
        f"bundle      {document['bundle']} ({format_bytes(document['bytes'])}, {document['seconds']:.0f} s)",
        f"model       {document['model']}, weights {document['weights']}",
        f"cut         {document['cut']}, chosen by {document['cut_chosen_by']}",
        f"feature     {shape}, {format_bytes(document['feature_bytes'])} stored, "
        f"signal to noise of storing it {_decibels(noise['uint8_storage'])}",
        f"taps        {_taps(document['taps'])}",
        f"trunk       {document['trunk_dtype']}",
        f"verified    largest relative difference to the original {document['float_max_relative_difference']:.2g}",
    ]
    pixels = document["input"]
    mean, std = (", ".join(f"{value:.4g}" for value in pixels[name]) for name in ("mean", "std"))
    said = f" (assumed: {', '.join(pixels['assumed'])})" if pixels["assumed"] else ""
    resized = f"{pixels['resize']} to {pixels['height']}x{pixels['width']}, {pixels['interpolation']}"
    lines.append(f"input       (pixel of 0..1 - {mean}) / {std}, {pixels['channel_order']}, {resized}{said}")
    if noise["int8_trunk"] is not None:
        name = "fp16" if document["trunk_dtype"] == "fp16" else "int8"
        lines += _fewer_bits(document, name)
    if document["pruning"] is not None:
        lines.append(_pruning(document["pruning"]))
    if document["calibration"]["skipped"]:
        lines.append(f"skipped     {document['calibration']['skipped']} images could not be read")
    if document["note"]:
        lines.append(f"note        {document['note']}")
    rows = [[entry["path"], format_bytes(entry["bytes"])] for entry in document["files"]]
    return "\n".join(lines) + "\n\n" + table(rows, ["file", "size"])


def _fewer_bits(document: Document, name: str) -> list[str]:
    """How a trunk of fewer bits compares with the float one: for the task, and on this machine."""
    quality, memory = document["trunk_quality"], document["trunk_memory"]
    kept = f"nearest neighbour kept on {quality['neighbours_kept']:.1%} of images"
    if quality["accuracy"] is not None:
        lost = 100 * (quality["float32_accuracy"] - quality["accuracy"])
        kept = f"accuracy {quality['accuracy']:.1%}, {lost:.1f} points less than float32; {kept}"
    elif document["trunk_judged_by"] is None:
        kept = f"{kept} (random weights, not judged)"
    noise = f"signal to noise {_decibels(quality['signal_to_noise_db'])}"
    slower = quality["float32_milliseconds"]
    speed = f"{quality['milliseconds']:.1f} ms an image here, float32 {slower:.1f} ms"
    if document["trunk_dtype"] != "fp32":
        less, more = (format_bytes(memory[key]) for key in ("trunk_memory_bytes", "trunk_float32_memory_bytes"))
        speed += f"; weights and activations {less}, float32 {more}"
    return [f"{name}        {kept}, {noise} ({_checked_with(document, name)})", f"speed       {speed}"]


def _taps(choice: Document) -> str:
    """What closed-form classifiers see, and why."""
    chosen = f"{' + '.join(choice['taps'])}, {choice['size']} numbers an image"
    if choice["accuracy"] is None:
        return f"{chosen}, by the default rule"
    default, best = choice["tries"][0], max(each["accuracy"] for each in choice["tries"])
    if choice["taps"] != default["taps"]:
        why = f"clearly better than the default's {default['accuracy']:.1%}"
    elif best > choice["accuracy"]:
        why = f"the default; the best of {len(choice['tries'])} choices has {best:.1%}, not clearly better"
    else:
        why = f"the best of {len(choice['tries'])} choices"
    return f"{chosen}, right on {choice['accuracy']:.1%} of {choice['images']} held-out images: {why}"


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
        f"{record['accuracy_pruned']:.1%}, distilled {record['accuracy_after']:.1%} ({record['test_images']} images)"
    )


def _decibels(value: float | None) -> str:
    return "without loss" if value is None else f"{value:.1f} dB"
