"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_state(parser: argparse.ArgumentParser) -> None:
    """``--state``: the directory that holds what was learned."""
    parser.add_argument("--state", type=Path, required=True, help="directory that holds what the device has learned")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def add_threads(parser: argparse.ArgumentParser) -> None:
    """``--threads``: processors to use."""
    parser.add_argument("--threads", type=_positive, help="processors to use (default: all this process may use)")
