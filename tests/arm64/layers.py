"""The image's layers as folders: what each step of the Dockerfile makes, kept until one of its inputs changes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from arm64.emulator import Bind, Root
from arm64.processors import PROCESSORS

SUITE = "bookworm"
#: Of the suite.
PYTHON = (3, 11)
MIRROR = "http://deb.debian.org/debian"
SOURCES = f"""deb {MIRROR} {SUITE} main
deb {MIRROR} {SUITE}-updates main
deb {MIRROR}-security {SUITE}-security main
"""
#: Debian's image is made with debootstrap too, of this variant.
DEBOOTSTRAP = ("--arch=arm64", "--foreign", "--variant=minbase")
#: As the Dockerfile sets it.
ENVIRONMENT = {
    "PATH": "/opt/lightcl/app/bin:/opt/lightcl/python/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LIGHTCL_STATE": "/state",
}
USER = 10001


class StepFailedError(Exception):
    """A step of the image failed under emulation."""


def digest(parts: Iterable[str | bytes | Path]) -> str:
    """One hash of texts, bytes and files' contents."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()[:16]


class Layers:
    """Root file systems under a cache folder, each made from the one before by a script of ``edge/docker``.

    Args:
        cache: where they are kept.
        scripts: the folder ``edge/docker``.
        sources: files that the scripts read, by name, as the Dockerfile copies them beside the scripts.
        say: tells the person who waits.
    """

    def __init__(self, cache: Path, scripts: Path, sources: Sequence[Path], say: Callable[[str], None]) -> None:
        self._cache, self._scripts, self._sources, self._say = cache, scripts, sources, say

    def base(self) -> tuple[Path, str]:
        """Debian as its image has it; the folder and what identifies it."""
        key = digest([SUITE, MIRROR, *DEBOOTSTRAP, SOURCES])
        debs = self._cache / "debs"

        def make(root: Path) -> None:
            debs.mkdir(parents=True, exist_ok=True)
            fetch = ["debootstrap", *DEBOOTSTRAP, f"--cache-dir={debs.resolve()}", SUITE, str(root), MIRROR]
            subprocess.run(["nice", "-n", "10", *fetch], check=True, stdout=subprocess.DEVNULL)
            self._run(self._machine(root), ["/debootstrap/debootstrap", "--second-stage"], "debootstrap's second stage")
            (root / "etc/apt/sources.list").write_text(SOURCES)

        return self._layer("base", key, make, "Debian, about 8 minutes"), key

    def system(self) -> tuple[Path, str]:
        """With Python and the user."""
        return self._scripted("system", self.base(), ["system.sh"], "apt, about 5 minutes")

    def tools(self) -> tuple[Path, str]:
        """With pip."""
        return self._scripted("tools", self.system(), ["tools.sh"], "apt, about 3 minutes")

    def dependencies(self, wheels: Path, packages: dict[str, str], *, torch: bool) -> tuple[Path, str]:
        """With what the product imports.

        Args:
            wheels: where pip finds them.
            packages: name -> version of what is installed, which identifies the layer.
            torch: as the Dockerfile's ``TORCH=1``.

        Returns:
            The folder and what identifies it.
        """
        environment = {"TORCH": "1" if torch else "0", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        if torch and sys.version_info[:2] == PYTHON:
            environment["PIP_NO_COMPILE"] = "1"  # thousands of files, a quarter of an hour: see _compile
        name = "dependencies-torch" if torch else "dependencies"
        script = ["dependencies.sh", "/build"]
        more: list[str | Path] = [json.dumps(packages, sort_keys=True), self._scripts / "pins.py"]
        return self._scripted(name, self.tools(), script, "pip", more, environment, (Bind(wheels, "/wheels"),))

    def image(self, dependencies: tuple[Path, str], wheel: Path, content: str, *, torch: bool) -> tuple[Path, str]:
        """What the Dockerfile ends in: the system, and of the other layers only what they made in /opt/lightcl.

        Args:
            dependencies: their layer.
            wheel: the product.
            content: what identifies the wheel.
            torch: whether torch is in the dependencies.

        Returns:
            The folder and what identifies it.
        """
        end = "-torch" if torch else ""
        script = ["product.sh", f"/wheels/{wheel.name}"]
        binds = (Bind(wheel.parent, "/wheels"),)
        product, key = self._scripted(f"product{end}", dependencies, script, "pip", [content], binds=binds)
        system, _ = self.system()
        check = self._scripts / "healthcheck.sh"
        key = digest([key, check])

        def make(root: Path) -> None:
            _copy(system, root)
            (root / "opt/lightcl").mkdir()
            _copy(dependencies[0] / "opt/lightcl/python", root / "opt/lightcl/python")
            _copy(product / "opt/lightcl/app", root / "opt/lightcl/app")
            shutil.copy2(check, root / "opt/lightcl/healthcheck.sh")
            (root / "data").mkdir()  # where the test's volume of bundles and pictures is mounted

        return self._layer(f"image{end}", key, make, "copies"), key

    def _scripted(
        self,
        name: str,
        below: tuple[Path, str],
        script: Sequence[str],
        what: str,
        more: Sequence[str | Path] = (),
        environment: dict[str, str] | None = None,
        binds: Sequence[Bind] = (),
    ) -> tuple[Path, str]:
        """A layer that a script makes of the one below."""
        sources = self._sources if "/build" in script else ()
        # Not the sources: what they say is in ``more``, and a comment in them should not cost an hour.
        key = digest([below[1], *script, self._scripts / script[0], *more, json.dumps(environment)])

        def make(root: Path) -> None:
            _copy(below[0], root)
            (root / "build").mkdir(exist_ok=True)
            (root / "wheels").mkdir(exist_ok=True)
            for path in (self._scripts / script[0], self._scripts / "pins.py", *sources):
                shutil.copy2(path, root / "build")
            (root / "etc/resolv.conf").unlink(missing_ok=True)
            shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
            self._run(self._machine(root, binds, environment), [f"/build/{script[0]}", *script[1:]], script[0])
            if "PIP_NO_COMPILE" in (environment or {}):
                _compile(root)

        return self._layer(name, key, make, what), key

    def _machine(self, root: Path, binds: Sequence[Bind] = (), environment: dict[str, str] | None = None) -> Root:
        """To build on, as root: any processor does."""
        oldest = PROCESSORS["cortex-a53"]
        description = oldest.describe(self._cache / "processors" / oldest.name)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return Root(
            root, oldest, description, binds, environment={"PATH": path, "LANG": "C.UTF-8", **(environment or {})}
        )

    def _layer(self, name: str, key: str, make: Callable[[Path], None], what: str) -> Path:
        """A finished folder of that name and key, made if there is none; a half-made one is never taken for it."""
        place, stamp = self._cache / "layers" / name, self._cache / "layers" / f"{name}.key"
        if stamp.is_file() and stamp.read_text() == key:
            return place
        self._say(f"making layer {name} ({what})")
        stamp.unlink(missing_ok=True)
        if place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        make(place)
        stamp.write_text(key)
        return place

    def _run(self, root: Root, argv: Sequence[str], what: str) -> None:
        done = root.run(argv)
        (self._cache / "logs").mkdir(exist_ok=True)
        log = self._cache / "logs" / f"{Path(argv[0]).name}.log"
        log.write_text(done.stdout + done.stderr)
        if done.returncode:
            raise StepFailedError(
                f"{what} ended with {done.returncode}; its last lines, the rest is in {log}:\n"
                + "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            )


def _compile(root: Path) -> None:
    """Byte code, which knows no processor, made natively where this Python makes the same as the image's."""
    place = root / "opt/lightcl/python/lib"
    command = [sys.executable, "-m", "compileall", "-q", "-s", str(root), "-p", "/", str(place)]
    # Packages carry a few files that are no Python of this version, on purpose; pip passes over them too.
    subprocess.run(["nice", "-n", "10", *command], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _copy(source: Path, target: Path) -> None:
    """Copy a tree with owners, links and modes."""
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", str(target)], check=True)
