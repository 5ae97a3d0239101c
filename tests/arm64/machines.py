"""The machines that are compared: this one, and containers of the image emulated as a processor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arm64 import instructions
from arm64.emulator import Bind, Root
from arm64.layers import ENVIRONMENT, USER
from arm64.processors import Processor

#: ``lightcl-edge`` for an emulator that takes no script.
_PROGRAM = ("/opt/lightcl/python/bin/python", "/opt/lightcl/app/bin/lightcl-edge")


class MachineFailedError(Exception):
    """A command ended otherwise than it must."""


class Machine(ABC):
    """Runs the product with two volumes: ``/data``, read-only, and ``/state``.

    Args:
        inputs: the folder of :func:`arm64.inputs.make_inputs`.
        work: the machine's own folder: its states and logs.
    """

    def __init__(self, inputs: Path, work: Path) -> None:
        self.inputs, self.work = inputs, work
        work.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def program(self, argv: Sequence[str], state: Path) -> subprocess.Popen[bytes]:
        """Start a program.

        Args:
            argv: program and arguments, in which ``/data`` and ``/state`` are the volumes.
            state: the volume; its output goes beside it, to ``STATE.out`` and ``STATE.err``.

        Returns:
            The running process.
        """

    def state(self, name: str, *, new: bool = False) -> Path:
        """The folder of a volume for what is learned, empty if it is to be new."""
        folder = self.work / name
        if new and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        os.chown(folder, USER, USER)
        return folder

    def run(self, argv: Sequence[str], state: Path, *, code: int = 0) -> str:
        """Run to the end.

        Args:
            argv: the program and its arguments.
            state: the volume.
            code: the exit code that is expected.

        Returns:
            What it printed.

        Raises:
            MachineFailedError: when it ends with another.
        """
        found = self.program(argv, state).wait()
        if found != code:
            errors = state.with_suffix(".err").read_text(errors="replace").splitlines()[-5:]
            raise MachineFailedError(f"{' '.join(argv)} ended with {found}, expected {code}: " + " / ".join(errors))
        return state.with_suffix(".out").read_text()

    def edge(self, *arguments: str, state: Path, code: int = 0) -> dict[str, Any]:
        """``lightcl-edge ARGUMENTS --json --quiet`` and its document."""
        document = json.loads(self.run(["lightcl-edge", *arguments, "--json", "--quiet"], state, code=code))
        return dict(document)


class NativeMachine(Machine):
    """This machine and the environment that runs this."""

    def program(self, argv: Sequence[str], state: Path) -> subprocess.Popen[bytes]:
        """Start with the volumes' real paths in place of theirs."""
        places = {"/data": str(self.inputs.resolve()), "/state": str(state.resolve())}
        words = [self._real(word, places) for word in argv]
        own = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{own}:{os.environ['PATH']}"}
        with state.with_suffix(".out").open("wb") as out, state.with_suffix(".err").open("wb") as errors:
            return subprocess.Popen(words, stdout=out, stderr=errors, env=environment)

    @staticmethod
    def _real(word: str, places: dict[str, str]) -> str:
        for place, real in places.items():
            if word == place or word.startswith(f"{place}/"):
                return real + word[len(place) :]
        return word


class EmulatedMachine(Machine):
    """A container of the image, read-only and with an ordinary user, on an emulated processor.

    Args:
        inputs: mounted at ``/data``.
        work: the machine's own folder.
        image: root file system.
        processor: to emulate.
        counting: folder of :func:`arm64.instructions.build`.
    """

    def __init__(self, inputs: Path, work: Path, image: Path, processor: Processor, counting: Path) -> None:
        super().__init__(inputs, work)
        self._counting = Bind(counting, instructions.PLACE)
        binds, description = [Bind(inputs, "/data")], processor.describe(work / "processor")
        self._root = Root(image, processor, description, binds, read_only=True, user=USER, environment=ENVIRONMENT)

    def program(self, argv: Sequence[str], state: Path) -> subprocess.Popen[bytes]:
        """Start it under the emulator."""
        root = replace(self._root, binds=[*self._root.binds, Bind(state, "/state", writable=True)])
        return root.start(argv, state.with_suffix(".out"), state.with_suffix(".err"))

    def instructions(self, *arguments: str, state: Path) -> int:
        """How many instructions ``lightcl-edge ARGUMENTS`` takes, without those of processes that it starts."""
        binds = [*self._root.binds, self._counting, Bind(state, "/state", writable=True)]
        root = replace(self._root, binds=binds, environment={**ENVIRONMENT, "PYTHONHASHSEED": "0"})
        argv = instructions.command([*_PROGRAM, *arguments], instructions.PLACE, "/state")
        done = root.run(argv)
        if done.returncode:
            raise MachineFailedError(f"{' '.join(argv)} ended with {done.returncode}, expected 0: {done.stderr[-500:]}")
        return instructions.counted(state)
