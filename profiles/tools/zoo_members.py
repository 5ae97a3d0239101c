"""What the zoo holds: one small member of every family of timm and torchvision, and odd ONNX files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lightcl_models.torchvision_import import import_torchvision
from zoo_files import ODD_FILES

#: Parts of names that small members have, from the smallest on.
_SMALL = (
    "atto", "zepto", "femto", "pico", "nano", "xxs", "xx_small", "micro", "_xs", "tiny", "mini", "_t", "050",
    "s0", "b0", "small", "_s", "18", "26", "11", "_x0", "0_5", "_0", "base",
)  # fmt: skip
#: How many members of a family are weighed, among those that promise most.
_WEIGHED = 3


def families() -> Iterator[tuple[str, Callable[[Path], str]]]:
    """Every family, and what gives its member as ``--model`` names it; the folder is for files."""
    import_torchvision()
    import timm
    from torchvision import models

    for name, write in ODD_FILES.items():
        yield f"file {name}", partial(_write, name, write)
    for name, names in sorted(_torchvision_families(models).items()):
        yield f"torchvision {name}", partial(_smallest, "torchvision", names, models.get_model)
    for name in sorted(timm.list_modules()):
        names = timm.list_models(module=name)
        real = [each for each in names if not each.startswith("test_")] or names
        if real:
            yield f"timm {name}", partial(_smallest, "timm", real, timm.create_model)


def _torchvision_families(models: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in models.list_models(module=models):
        module = models.get_model_builder(name).__module__
        found.setdefault(module.rsplit(".", 1)[-1], []).append(name)
    return found


def _write(name: str, write: Callable[[Path], None], folder: Path) -> str:
    path = folder / f"{name.replace(' ', '_')}.onnx"
    write(path)
    return str(path)


def _smallest(source: str, names: list[str], create: Callable[[str], Any], _: Path) -> str:
    """The member with the fewest weights among those whose names promise few."""
    ordered = sorted(names, key=_promise)
    promising = [name for name in ordered[:_WEIGHED] if _promise(name)[0] == _promise(ordered[0])[0]]
    sizes: dict[str, int] = {}
    for name in promising if len(promising) > 1 else ():
        with suppress(Exception):  # what a network's own code raises on a device without values
            sizes[name] = _weights(create, name)
    return f"{source}:{min(sizes, key=lambda name: sizes[name]) if sizes else promising[0]}"


def _promise(name: str) -> tuple[int, int, str]:
    parts = [rf"(?<!\d){part}(?!\d)" if part.isdigit() else part for part in _SMALL]  # no 26 in 264
    place = next((index for index, part in enumerate(parts) if re.search(part, name)), len(_SMALL))
    return place, len(name), name


def _weights(create: Callable[[str], Any], name: str) -> int:
    import torch

    with torch.device("meta"):
        return sum(each.numel() for each in create(name).parameters())
