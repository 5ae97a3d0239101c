"""Entry points of installed packages. ``importlib.metadata`` would cost 20 ms and 4 MiB."""

import sys
from pathlib import Path


def entry_points(group: str) -> dict[str, str]:
    """The entry points of a group: name -> ``module:object``. The first package on the path counts.

    ``importlib.metadata``, which also finds packages in zip files, is asked when no folder has any.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        for path in sorted(Path(place or ".").glob("*.dist-info/entry_points.txt")):
            for name, target in _read(path, group).items():
                found.setdefault(name, target)
    if not found:
        from importlib import metadata

        return {entry.name: entry.value for entry in metadata.entry_points(group=group)}
    return found


def _read(path: Path, group: str) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found, inside = {}, False
    for line in map(str.strip, lines):
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith("#"):
            name, _, target = line.partition("=")
            found[name.strip()] = target.split("[")[0].strip()
    return found
