"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_state(parser: argparse.ArgumentParser) -> None:
    """``--state``: the directory that holds what was learned."""
    parser.add_argument("--state", type=Path, required=True, help="directory that holds what the device has learned")


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of 1 or more")
    return int(text)


def _threads(text: str) -> int:
    """More threads than processors only wait for each other."""
    from lightcl_edge.machine import usable_cores

    cores = usable_cores()
    if not text.isdecimal() or not 1 <= int(text) <= cores:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 to {cores}, the processors this process may use")
    return int(text)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """``--threads``: processors to use."""
    parser.add_argument("--threads", type=_threads, help="processors to use (default: all this process may use)")
