"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from lightcl_edge.errors import UsageError


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


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """What a bundle is made like."""
    parser.add_argument("--out", required=True, type=Path, metavar="BUNDLE", help="a folder, or a path ending in .lclb")
    parser.add_argument(
        "--trunk-dtype",
        default="auto",
        metavar="TYPE",
        help="int8, fp32, or auto: int8 where it keeps the network's answers (and for random weights), else fp32",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="how often an int8 trunk must name the original's first class (default 0.95)",
    )
    parser.add_argument("--max-classes", type=int, metavar="N", help="room in the classifier (default 64)")
    parser.add_argument(
        "--keep-classes", type=Path, metavar="FILE", help="keep the network's own classes; the file names one a line"
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
