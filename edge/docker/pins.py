"""What the image installs, from the project's own files; needs Python 3.11 and nothing else.

``pins.py requirements pyproject.toml [--torch 1]`` lists the base dependencies, one a line.
``pins.py constraints FILE...`` joins files of constraints: a pin in a later file replaces that of an earlier one.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import tomllib


def requirements(pyproject: Path, *, torch: bool) -> list[str]:
    """What the product needs on a device, as ``pyproject.toml`` states it; with the extra ``torch`` if asked for."""
    project = tomllib.loads(pyproject.read_text())["project"]
    more = project["optional-dependencies"]["torch"] if torch else []
    return [*project["dependencies"], *more]


def normalised(name: str) -> str:
    """A package's name as the index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def join(files: Iterable[Path]) -> dict[str, str]:
    """The pins of all files: normalised name -> version, a later file's when several pin one.

    Raises:
        ValueError: when a line is not an exact ``name==version``, or a file pins a package twice.
    """
    pins: dict[str, str] = {}
    for path in files:
        own: dict[str, str] = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line.split("#")[0].strip()
            if not text:
                continue
            name, _, version = text.partition("==")
            if not re.fullmatch(r"[A-Za-z0-9][\w.+!-]*", version.strip()):
                raise ValueError(f"{path.name}:{number}: found {text!r}, expected name==version")
            if normalised(name.strip()) in own:
                raise ValueError(f"{path.name}:{number}: {name.strip()} is pinned twice; keep one")
            own[normalised(name.strip())] = version.strip()
        pins |= own
    return pins


def main() -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    wanted = commands.add_parser("requirements")
    wanted.add_argument("pyproject", type=Path)
    wanted.add_argument("--torch", choices=("0", "1"), default="0")
    joined = commands.add_parser("constraints")
    joined.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    try:
        if args.command == "requirements":
            lines = requirements(args.pyproject, torch=args.torch == "1")
        else:
            lines = [f"{name}=={version}" for name, version in sorted(join(args.files).items())]
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
