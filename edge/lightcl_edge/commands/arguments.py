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


def not_negative(text: str) -> int:
    """A whole number of 0 or more."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of 0 or more")
    return int(text)


def _threads(text: str) -> int:
    """More threads than processors only wait for each other."""
    from lightcl_edge.machine.description import usable_cores

    cores = usable_cores()
    if not text.isdecimal() or not 1 <= int(text) <= cores:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 to {cores}, the processors this process may use")
    return int(text)


def add_cooling(parser: argparse.ArgumentParser) -> None:
    """``--cool`` and ``--cool-at``: pauses while the board is hot."""
    parser.add_argument(
        "--cool",
        action="store_true",
        help="pause between steps while the board is throttled or at 75 °C, until 5 °C cooler, at most 60 s at once",
    )
    parser.add_argument(
        "--cool-at", type=_celsius, metavar="CELSIUS", help="the same at another temperature (30 to 120)"
    )


def cooling_limit(args: argparse.Namespace) -> float | None:
    """What ``--cool`` and ``--cool-at`` ask for; None for no pauses."""
    from lightcl_edge.machine.cooling import DEFAULT_CELSIUS

    chosen: float | None = args.cool_at
    return chosen if chosen is not None else DEFAULT_CELSIUS if args.cool else None


def _celsius(text: str) -> float:
    """A temperature at which silicon still works."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 30 <= value <= 120:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected degrees Celsius, 30 to 120")
    return value


def add_provider(parser: argparse.ArgumentParser) -> None:
    """``--provider``: what computes the trunk."""
    parser.add_argument(
        "--provider",
        choices=("tensorrt", "cuda", "cpu"),
        help="what computes the trunk, the processor where it does not work (default: the bundle's, else cuda)",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """``--threads``: processors to use."""
    parser.add_argument("--threads", type=_threads, help="processors to use (default: all this process may use)")


def add_memory_budget(parser: argparse.ArgumentParser) -> None:
    """``--memory-budget``: the most the plan may need, in bytes."""
    parser.add_argument(
        "--memory-budget",
        type=_budget,
        metavar="SIZE",
        help="refuse to start if the plan needs more, such as 256MiB; none starts whatever the plan says "
        "(default: what is free here, less a reserve of 16 MiB)",
    )


def _budget(text: str) -> int:
    """A size, or ``none`` for no check."""
    from lightcl_edge.console.text import parse_memory
    from lightcl_edge.errors import UsageError

    if text == "none":
        from lightcl_edge.machine.limits import UNCHECKED_BYTES

        return UNCHECKED_BYTES
    try:
        return parse_memory(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
