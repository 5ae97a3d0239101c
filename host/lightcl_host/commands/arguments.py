"""Arguments that several commands share, and the options records that are made from them."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lightcl_edge.console.completion import add_completer, names_of
from lightcl_edge.errors import UsageError
from lightcl_host.export.options import DEFAULT_CAPACITY, ExportOptions
from lightcl_host.pruning.channels import LARGEST_SPARSITY
from lightcl_host.pruning.pruning import RECOVERY_EPOCHS
from lightcl_host.sources.options import SourceOptions
from lightcl_host.trunks.dtype_choice import DTYPES, Tolerance, planned_dtype

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from lightcl_host.analysis.run import AnalyzeOptions

Options = TypeVar("Options", bound="DataclassInstance")
#: Arguments that say which network it is, and which images it takes.
MODEL_ARGUMENTS = (
    "model", "weights", "image_size", "mean", "std", "scale", "channel_order", "resize", "crop_ratio", "interpolation",
    "output",
)  # fmt: skip
_LARGEST_IMAGE = 4096
_LEAST_CROP, _MOST_POINTS = 0.1, 100
_CHOICES = {
    "channel_order": ("RGB", "BGR"),
    "resize": ("crop", "stretch"),
    "interpolation": ("bilinear", "bicubic", "nearest"),
}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="efficientnet_lite0, resnet18_cifar, torchvision:NAME, timm:NAME or a path ending in .onnx",
    )
    parser.add_argument(
        "--weights", default="default", metavar="W", help="default, none (random), or a .safetensors or .pth file"
    )
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the input (default: the model's own)")
    parser.add_argument("--mean", metavar="R,G,B", help="subtracted from pixels in 0..1 (default: the model's own)")
    parser.add_argument("--std", metavar="R,G,B", help="what they are then divided by (default: the model's own)")
    parser.add_argument(
        "--scale",
        type=float,
        metavar="F",
        help="largest pixel that --mean and --std are stated for, as 255 (default 1)",
    )
    parser.add_argument("--channel-order", metavar="ORDER", help="RGB or BGR (default: the model's own)")
    parser.add_argument(
        "--resize", metavar="HOW", help="crop (shorter side, then the centre) or stretch (default: the model's own)"
    )
    parser.add_argument(
        "--crop-ratio", type=float, metavar="F", help="input size over the shorter side before, as 0.875 for 224 of 256"
    )
    parser.add_argument("--interpolation", metavar="HOW", help="bilinear, bicubic or nearest, to resize images")
    parser.add_argument("--output", metavar="NAME", help="name of the logits in an .onnx file with several outputs")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default 0)")
    verbose = "also print what was chosen and why, and of a model that can't be used what the libraries said"
    parser.add_argument("--verbose", action="store_true", help=verbose)


def add_analysis_arguments(parser: argparse.ArgumentParser, device: str | None = "this-machine") -> None:
    """How the layers are measured, and for which device; ``device`` is the default."""
    board = parser.add_argument(
        "--device",
        default=device,
        metavar="P",
        help="rpi-zero-2w, rpi3, rpi4-2gb, rpi5-4gb, jetson-nano, jetson-orin-nano, this-machine (measured), "
        f"or a TOML file like those in profiles/devices (default {device or 'none: no analysis'})",
    )
    add_completer(board, names_of(_device_names))
    parser.add_argument(
        "--tasks",
        type=int,
        metavar="N",
        help="divide the classes into N tasks (default: 3, or 2 of fewer than 6 classes)",
    )
    parser.add_argument("--images", type=int, default=600, metavar="N", help="images to use in all (default 600)")
    parser.add_argument("--steps", type=int, default=40, metavar="N", help="at most N steps of a task (default 40)")
    parser.add_argument(
        "--learning-rate", type=float, default=0.02, metavar="F", help="of the whole network (default 0.02)"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.95, metavar="F", help="generalizability that is high enough (default 0.95)"
    )
    parser.add_argument(
        "--shortlist", type=int, default=3, metavar="N", help="really train the heads of N cuts (default 3)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a rough answer: --images 160 --steps 5 --shortlist 0 where not given"
    )


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """What goes into a bundle."""
    parser.add_argument("--out", required=True, type=Path, metavar="BUNDLE", help="a folder, or a path ending in .lclb")
    parser.add_argument("--force", action="store_true", help="replace a bundle that is there already")
    _add_trunk_arguments(parser)
    parser.add_argument("--max-classes", type=int, metavar="N", help="room in the classifier (default 64)")
    parser.add_argument("--max-taps", type=int, default=1024, metavar="N", help="size of taps tried by accuracy (1024)")
    parser.add_argument(
        "--keep-classes",
        type=Path,
        metavar="FILE",
        help="keep the network's own classes; FILE names one on each line, own takes the names in the .onnx file",
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        default=0.0,
        metavar="F",
        help="remove this share of the channels of the head and of the trunk's end (default 0), then train what is "
        "left to answer as before, on the images of --calibration or --data where given",
    )
    parser.add_argument("--recovery-epochs", type=int, metavar="N", help="passes of that training (default 3)")
    parser.add_argument("--seed-buffer", metavar="D", help="images of base classes; their features go into the bundle")
    parser.add_argument(
        "--seed-buffer-size", metavar="N", help="how many samples (500) or bytes (2MB) of them (default: 2000000B)"
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


def _add_trunk_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trunk-dtype",
        default="auto",
        metavar="TYPE",
        help="int8, fp16 (for GPU boards; a CPU computes it in float32), fp32, or auto: int8 where its "
        "features serve as well (and for random weights), else fp32",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        metavar="POINTS",
        help="accuracy that an int8 or fp16 trunk may lose on labelled images of --calibration (default 1)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="without labels: on how many images such a trunk must keep the nearest neighbour (default 0.9)",
    )


def options_from(kind: type[Options], args: argparse.Namespace, **given: Any) -> Options:
    """An options record from the command line: each field is the argument of its own name, or one of ``given``.

    Fields that neither has keep their defaults.
    """
    names = [field.name for field in fields(kind) if field.name not in given and hasattr(args, field.name)]
    return kind(**{name: getattr(args, name) for name in names}, **given)


def option_name(name: str) -> str:
    """``batch_size`` -> ``--batch-size``."""
    return f"--{name.replace('_', '-')}"


def command_line(command: str, args: argparse.Namespace, names: Iterable[str]) -> str:
    """A command that can be repeated, with the named arguments spelt out.

    Arguments that are None and flags that are not set are left out.
    """
    words = ["lightcl-host", command]
    for name in names:
        value = getattr(args, name)
        if value is True:
            words.append(option_name(name))
        elif value is not None and value is not False:
            words += [option_name(name), str(value)]
    return shlex.join(words)


def check_counts(args: argparse.Namespace, names: Iterable[str]) -> None:
    """Refuse with a UsageError an argument that is given and is below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"{option_name(name)} {value}; expected 1 or more")


def check_learning_rate(args: argparse.Namespace) -> None:
    """Refuse ``--learning-rate`` with a UsageError unless it is above 0 or not given."""
    if args.learning_rate is not None and not args.learning_rate > 0:
        raise UsageError(f"--learning-rate {args.learning_rate}; expected a number above 0")


def _three_numbers(text: str | None, option: str) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
        if not all(math.isfinite(value) for value in (first, second, third)):
            raise ValueError("not finite")
    except ValueError as error:
        raise UsageError(f"{option} {text}; expected three numbers such as 0.485,0.456,0.406") from error
    return first, second, third


def source_options(args: argparse.Namespace) -> SourceOptions:
    """What the command line says about the model; a UsageError when a value is out of range."""
    if args.image_size is not None and not 1 <= args.image_size <= _LARGEST_IMAGE:
        raise UsageError(f"--image-size {args.image_size}; expected 1 to {_LARGEST_IMAGE} pixels")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    std = _three_numbers(args.std, "--std")
    if std is not None and min(std) <= 0:
        raise UsageError(f"--std {args.std}; expected numbers above 0")
    if args.scale is not None and not args.scale > 0:
        raise UsageError(f"--scale {args.scale:g}; expected a number above 0, such as 255")
    for name, known in _CHOICES.items():
        value = getattr(args, name)
        if value is not None and value not in known:
            raise UsageError(f"{option_name(name)} {value}; expected {' or '.join(known)}")
    if args.crop_ratio is not None and not _LEAST_CROP <= args.crop_ratio <= 1:
        raise UsageError(f"--crop-ratio {args.crop_ratio:g}; expected {_LEAST_CROP:g} to 1, such as 0.875")
    return options_from(SourceOptions, args, mean=_three_numbers(args.mean, "--mean"), std=std)


def export_options(args: argparse.Namespace, **given: Any) -> ExportOptions:
    """What the command line says about the bundle, with fields ``given`` that are not simply an argument.

    Raises a UsageError when a value is out of range.
    """
    if args.trunk_dtype not in DTYPES:
        raise UsageError(f"--trunk-dtype {args.trunk_dtype}; expected {', '.join(DTYPES)}")
    tolerance = Tolerance()
    if args.min_agreement is not None:
        tolerance = replace(tolerance, least_neighbours=args.min_agreement)
    if args.max_loss is not None:
        tolerance = replace(tolerance, most_lost=args.max_loss)
    if not 0 <= tolerance.least_neighbours <= 1:
        raise UsageError(f"--min-agreement {tolerance.least_neighbours:g}; expected a share of 0 to 1")
    if not 0 <= tolerance.most_lost <= _MOST_POINTS:
        raise UsageError(f"--max-loss {tolerance.most_lost:g}; expected 0 to {_MOST_POINTS} points")
    if not 0 <= args.sparsity <= LARGEST_SPARSITY:
        raise UsageError(f"--sparsity {args.sparsity:g}; expected a share of 0 to {LARGEST_SPARSITY:g}")
    epochs = RECOVERY_EPOCHS if args.recovery_epochs is None else args.recovery_epochs
    if epochs < 0:
        raise UsageError(f"--recovery-epochs {epochs}; expected 0 or more")
    return options_from(
        ExportOptions,
        args,
        source=source_options(args),
        tolerance=tolerance,
        capacity=DEFAULT_CAPACITY if args.max_classes is None else args.max_classes,
        recovery_epochs=epochs,
        **given,
    )


def apply_quick(args: argparse.Namespace) -> None:
    """With ``--quick`` the numbers that were not given become smaller."""
    from lightcl_host.analysis.run import QUICK, AnalyzeOptions

    defaults = {entry.name: entry.default for entry in fields(AnalyzeOptions)}
    for name, value in QUICK.items():
        if args.quick and getattr(args, name) == defaults[name]:
            setattr(args, name, value)


def analyze_options(args: argparse.Namespace, out: Path, command: str) -> AnalyzeOptions:
    """What the command line says about the analysis; ``command`` is for its record."""
    from lightcl_host.analysis.run import AnalyzeOptions

    return options_from(
        AnalyzeOptions,
        args,
        source=source_options(args),
        out=out,
        trunk_dtype=planned_dtype(args.trunk_dtype),
        command=command,
    )


def _device_names() -> list[str]:
    from lightcl_profiler.devices.profile import profile_names

    return profile_names()
