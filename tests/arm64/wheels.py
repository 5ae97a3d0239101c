"""Fetches the wheels that the image installs, natively: pip under emulation then only unpacks them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Debian bookworm on arm64, as requirements' markers see it.
PYTHON = "3.11"
MARKERS = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.11.2",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
#: The C library of bookworm is 2.36.
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)] + ["manylinux2014_aarch64", "any"]


class NotPinnedError(Exception):
    """Something would be installed at a version that no constraint names."""


def needed(requirements: Iterable[str], extras: Iterable[str] = ()) -> list[str]:
    """The names that requirements ask for on this platform.

    Args:
        requirements: of a package's metadata, or of a list.
        extras: of the package that were asked for.

    Returns:
        Normalised names, in order.
    """
    names: list[str] = []
    for text in requirements:
        requirement = Requirement(text)
        asked = ["", *extras]
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**MARKERS, "extra": extra}) for extra in asked):
            names.append(canonicalize_name(requirement.name))
    return names


def requirements_of(wheel: Path) -> list[str]:
    """What a wheel's metadata says it needs."""
    with zipfile.ZipFile(wheel) as packed:
        name = next(n for n in packed.namelist() if n.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(packed.read(name).decode()).get_all("Requires-Dist") or []


def fetch(requirements: Iterable[str], pins: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Fetch what is needed and what that needs, each at its pinned version; what is there already stays.

    Args:
        requirements: what is to be installed.
        pins: normalised name -> version.
        folder: where the wheels go.

    Returns:
        Normalised name -> version of all that is needed.

    Raises:
        NotPinnedError: when a package has no pin.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    waiting = needed(requirements)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in pins:
            raise NotPinnedError(f"{name} would be installed at any version; add it to constraints.txt")
        found[name] = pins[name]
        waiting += needed(requirements_of(_wheel(name, pins[name], folder)))
    return found


def _wheel(name: str, version: str, folder: Path) -> Path:
    """The wheel of a pinned package, fetched if it is not there."""
    begin = f"{name.replace('-', '_')}-{version}-"
    for _ in range(2):
        for path in folder.iterdir():
            if path.name.lower().startswith(begin):
                return path
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        abis = ["--abi", "cp311", "--abi", "abi3", "--abi", "none"]
        python = ["--python-version", PYTHON, "--implementation", "cp"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        where = ["--disable-pip-version-check", "--dest", str(folder)]
        subprocess.run([*pip, *where, *python, *abis, *platforms, f"{name}=={version}"], check=True)
    raise FileNotFoundError(f"pip fetched no {begin}*.whl into {folder}")
