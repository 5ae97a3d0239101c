"""What a shell completes from a state; read without numpy, which would make the Tab key slow."""

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def class_names(parsed_args: argparse.Namespace, **_others: object) -> list[str]:
    """The classes of all generations of the state that ``--state`` names."""
    names = set()
    for folder in _generation_folders(parsed_args):
        with suppress(OSError, ValueError, KeyError, TypeError):  # a damaged generation has no names to offer
            names |= set(json.loads((folder / "meta.json").read_bytes())["classes"])
    return sorted(name for name in names if name.isprintable())


def generations(parsed_args: argparse.Namespace, **_others: object) -> list[str]:
    """The numbers of a state's generations, 0 for the bundle as exported."""
    numbers = [str(int(folder.name)) for folder in _generation_folders(parsed_args)]
    return ["0", *numbers] if numbers else []


def _generation_folders(args: argparse.Namespace) -> Iterator[Path]:
    if getattr(args, "state", None) is not None:
        yield from sorted((args.state.expanduser() / "generations").glob("[0-9]" * 6))
