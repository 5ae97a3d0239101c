"""Arguments that several commands share."""

import argparse
from pathlib import Path


def add_verbose(parser: argparse.ArgumentParser, adds: str) -> None:
    """``--verbose``: what the command's ``render_details`` prints."""
    parser.add_argument("--verbose", action="store_true", help=f"also print {adds}")


def add_state(parser: argparse.ArgumentParser) -> None:
    """``--state``: the directory that holds what was learned."""
    parser.add_argument("--state", type=Path, required=True, help="directory that holds what the device has learned")


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """``--bundle`` of a command that learns."""
    parser.add_argument("--bundle", type=Path, help="bundle of lightcl-host export; needed the first time only")


def add_data(parser: argparse.ArgumentParser) -> None:
    """``--data``: labelled images."""
    parser.add_argument("--data", required=True, help="folder with one sub-folder a class, .npz, or a named source")


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
    """The temperature that ``--cool`` or ``--cool-at`` asks for; None without pauses."""
    from lightcl_edge.machine.cooling import DEFAULT_CELSIUS

    chosen: float | None = args.cool_at
    return chosen if chosen is not None else DEFAULT_CELSIUS if args.cool else None


def add_provider(parser: argparse.ArgumentParser) -> None:
    """``--provider``: what computes the trunk."""
    parser.add_argument(
        "--provider",
        choices=("tensorrt", "cuda", "cpu"),
        help="what computes the trunk; if it does not work, the processor does (default: the bundle's, else cuda)",
    )


def add_computing(parser: argparse.ArgumentParser) -> None:
    """``--provider`` and ``--threads``."""
    add_provider(parser)
    parser.add_argument("--threads", type=_threads, help="processors to use (default: all this process may use)")


def add_memory_budget(parser: argparse.ArgumentParser) -> None:
    """``--memory-budget``: the most that the plan may need."""
    parser.add_argument(
        "--memory-budget",
        dest="memory_budget_bytes",
        type=_budget,
        metavar="SIZE",
        help="refuse to start if the plan needs more, such as 256MiB; none: start whatever the plan says "
        "(default: what is free here, less a reserve of 16 MiB)",
    )


def add_false_alarms(parser: argparse.ArgumentParser) -> None:
    """``--false-alarms``: when an image is called unknown."""
    parser.add_argument(
        "--false-alarms",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="how many images of known classes may be called never seen by mistake, 0 to 1 (default: 0.05)",
    )


def share(text: str) -> float:
    """A share of 0 to 1."""
    return _number(text, 0, 1, "a share of 0 to 1, such as 0.05")


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


def _celsius(text: str) -> float:
    return _number(text, 30, 120, "degrees Celsius, 30 to 120")


def seconds(text: str) -> float:
    """A number of seconds of 0 or more."""
    return _number(text, 0, 1e9, "seconds, 0 or more")


def _number(text: str, least: float, most: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}")
    return value


def _threads(text: str) -> int:
    """More threads than processors only wait for each other."""
    from lightcl_edge.machine.description import usable_cores

    cores = usable_cores()
    if not text.isdecimal() or not 1 <= int(text) <= cores:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 to {cores}, the processors this process may use")
    return int(text)


def _budget(text: str) -> int:
    """A size, or ``none`` for no check."""
    from lightcl_edge.console.text import parse_memory
    from lightcl_edge.errors import UsageError

    if text == "none":
        from lightcl_edge.machine.memory_limits import UNCHECKED_BYTES

        return UNCHECKED_BYTES
    try:
        return parse_memory(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
