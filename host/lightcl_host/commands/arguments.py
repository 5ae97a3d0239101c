"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.console.completion import add_completer, names_of
from lightcl_edge.errors import UsageError
from lightcl_host.export.cut_choice import AUTOMATIC
from lightcl_host.export.options import DEFAULT_CAPACITY, ExportOptions
from lightcl_host.pruning.channels import LARGEST_SPARSITY
from lightcl_host.pruning.pruning import RECOVERY_EPOCHS
from lightcl_host.sources.source import SourceOptions
from lightcl_host.trunks.choice import DTYPES, MINIMUM_AGREEMENT, planned_dtype

if TYPE_CHECKING:
    from lightcl_host.analysis.run import AnalyzeOptions

import math


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """``--model`` and what belongs to it."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="efficientnet_lite0, resnet18_cifar, torchvision:NAME, timm:NAME or a path ending in .onnx",
    )
    parser.add_argument(
        "--weights", default="default", metavar="W", help="default, none (random) or a .safetensors or .pth file"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="side of the input, instead of the model's own"
    )
    parser.add_argument("--mean", metavar="R,G,B", help="subtracted from pixels in 0..1, instead of the model's own")
    parser.add_argument("--std", metavar="R,G,B", help="divided by afterwards, instead of the model's own")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")


def add_analysis_arguments(parser: argparse.ArgumentParser, device: str | None = "this-machine") -> None:
    """How the layers are judged, and for which device (``device`` when the user names none)."""
    board = parser.add_argument(
        "--device",
        default=device,
        metavar="P",
        help="rpi-zero-2w, rpi3, rpi4-2gb, rpi5-4gb, jetson-nano, jetson-orin-nano, this-machine (measured), "
        f"or a TOML file like those in profiles/devices (default {device or 'none: no analysis'})",
    )
    add_completer(board, names_of(_device_names))
    parser.add_argument("--tasks", type=int, default=3, metavar="N", help="divide the classes into N tasks (default 3)")
    parser.add_argument("--images", type=int, default=600, metavar="N", help="images to use in all (default 600)")
    parser.add_argument(
        "--steps", type=int, default=40, metavar="N", help="of the whole network, 32 images each, a task (default 40)"
    )
    parser.add_argument(
        "--learning-rate", type=float, default=0.02, metavar="F", help="of the whole network (default 0.02)"
    )
    parser.add_argument(
        "--repeats", type=int, default=2, metavar="N", help="measure N times, to know the noise (default 2)"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.95, metavar="F", help="generalizability that is enough (default 0.95)"
    )
    parser.add_argument(
        "--shortlist", type=int, default=4, metavar="N", help="really train the heads of N cuts (default 4)"
    )


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """What a bundle is made like."""
    parser.add_argument("--out", required=True, type=Path, metavar="BUNDLE", help="a folder, or a path ending in .lclb")
    parser.add_argument(
        "--trunk-dtype",
        default="auto",
        metavar="TYPE",
        help="int8, fp16 (for GPU boards; a CPU computes it in float32), fp32, or auto: int8 where it keeps the "
        "network's answers (and for random weights), else fp32",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="how often an int8 or fp16 trunk must name the original's first class (default 0.95)",
    )
    parser.add_argument("--max-classes", type=int, metavar="N", help="room in the classifier (default 64)")
    parser.add_argument(
        "--keep-classes", type=Path, metavar="FILE", help="keep the network's own classes; the file names one a line"
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        default=0.0,
        metavar="F",
        help="remove this share of the channels of the head and the trunk's tail (default 0), and recover with the "
        "images of --calibration or --data where given",
    )
    parser.add_argument(
        "--recovery-epochs", type=int, metavar="N", help="passes over the data after pruning (default 3)"
    )
    parser.add_argument(
        "--seed-buffer", metavar="D", help="base classes: their features go into the bundle as a first memory of them"
    )
    parser.add_argument(
        "--seed-buffer-size", metavar="N", help="samples (500) or bytes (2MB) of it (default: 2000000B)"
    )
    parser.add_argument(
        "--with-baselines", action="store_true", help="add the whole network, to profile training all of it"
    )
    parser.add_argument(
        "--sign", type=Path, metavar="KEY", help="sign the bundle with this private key (lightcl-host keygen)"
    )
    parser.add_argument(
        "--release", type=int, metavar="N", help="number of a signed bundle; devices refuse a lower one (default: time)"
    )


def three_numbers(text: str | None, option: str) -> tuple[float, float, float] | None:
    """``0.5,0.5,0.5`` as numbers.

    Args:
        text: what the command line says, or None.
        option: its name for the message.

    Returns:
        The numbers, or None for None.

    Raises:
        UsageError: when it is something else.
    """
    if text is None:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
        if not all(math.isfinite(value) for value in (first, second, third)):
            raise ValueError("not finite")
    except ValueError as error:
        raise UsageError(f"{option} {text}; expected three numbers such as 0.485,0.456,0.406") from error
    return first, second, third


_LARGEST_IMAGE = 4096


def source_options(args: argparse.Namespace) -> SourceOptions:
    """What the command line says about the model.

    Args:
        args: parsed arguments of :func:`add_model_arguments`.

    Returns:
        The record.

    Raises:
        UsageError: when a value is out of range.
    """
    if args.image_size is not None and not 1 <= args.image_size <= _LARGEST_IMAGE:
        raise UsageError(f"--image-size {args.image_size}; expected 1 to {_LARGEST_IMAGE} pixels")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    std = three_numbers(args.std, "--std")
    if std is not None and min(std) <= 0:
        raise UsageError(f"--std {args.std}; expected numbers above 0")
    mean = three_numbers(args.mean, "--mean")
    return SourceOptions(args.model, args.weights, args.image_size, mean, std, args.seed)


def export_options(
    args: argparse.Namespace, cut: str = AUTOMATIC, data: str | None = None, analysis: Path | None = None
) -> ExportOptions:
    """What the command line says about the bundle.

    Args:
        args: parsed arguments of :func:`add_export_arguments`.
        cut: where to part.
        data: images to calibrate with.
        analysis: folder of an analysis that decides on the cut.

    Returns:
        The record.

    Raises:
        UsageError: when a value is out of range.
    """
    if args.trunk_dtype not in DTYPES:
        raise UsageError(f"--trunk-dtype {args.trunk_dtype}; expected {', '.join(DTYPES)}")
    agreement = MINIMUM_AGREEMENT if args.min_agreement is None else args.min_agreement
    if not 0 <= agreement <= 1:
        raise UsageError(f"--min-agreement {agreement}; expected a share of 0 to 1")
    if not 0 <= args.sparsity <= LARGEST_SPARSITY:
        raise UsageError(f"--sparsity {args.sparsity:g}; expected a share of 0 to {LARGEST_SPARSITY:g}")
    epochs = RECOVERY_EPOCHS if args.recovery_epochs is None else args.recovery_epochs
    if epochs < 0:
        raise UsageError(f"--recovery-epochs {epochs}; expected 0 or more")
    return ExportOptions(
        source=source_options(args),
        out=args.out,
        cut=cut,
        trunk_dtype=args.trunk_dtype,
        calibration=data,
        minimum_agreement=agreement,
        capacity=DEFAULT_CAPACITY if args.max_classes is None else args.max_classes,
        keep_classes=args.keep_classes,
        with_baselines=args.with_baselines,
        sparsity=args.sparsity,
        recovery_epochs=epochs,
        sign=args.sign,
        release=args.release,
        seed=args.seed,
        seed_buffer=args.seed_buffer,
        seed_buffer_size=args.seed_buffer_size,
        analysis=analysis,
        device=args.device,
    )


def analyze_options(args: argparse.Namespace, out: Path, command: str) -> AnalyzeOptions:
    """What the command line says about the analysis.

    Args:
        args: parsed arguments of :func:`add_model_arguments` and :func:`add_analysis_arguments`, and ``--data``.
        out: folder of the results.
        command: for the record.

    Returns:
        The record.
    """
    from lightcl_host.analysis.run import AnalyzeOptions

    return AnalyzeOptions(
        source=source_options(args),
        data=args.data,
        out=out,
        device=args.device,
        tasks=args.tasks,
        images=args.images,
        steps=args.steps,
        learning_rate=args.learning_rate,
        repeats=args.repeats,
        threshold=args.threshold,
        shortlist=args.shortlist,
        seed=args.seed,
        trunk_dtype=planned_dtype(args.trunk_dtype),
        command=command,
    )


def _device_names() -> list[str]:
    from lightcl_profiler.devices.profile import profile_names

    return profile_names()
