"""Runs the product's own commands as a person would, and shows them."""

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from lightcl_edge.errors import ExitCode, LightclError, UsageError


class StepFailedError(LightclError):
    """A command of the demo failed; the demo ends with its exit code."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def find_program(name: str) -> str:
    """The installed command, of this Python's environment if it is there; a UsageError when there is none."""
    own = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([own, os.environ.get("PATH", "")]))
    if found is None:
        raise UsageError(
            f"found no command {name}, expected it in {own}; install with pip install 'lightcl-edge[demo]'"
        )
    return found


class Steps:
    """Prints each command, runs it, and stops at the first that fails."""

    def __init__(self, *, quiet: bool, output: IO[str]) -> None:
        self._quiet, self._output = quiet, output

    def say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=self._output, flush=True)

    def title(self, line: str) -> None:
        self.say(f"\n== {line}")

    def show(self, command: Sequence[str], lines: int) -> None:
        """Run a command and print the first ``lines`` lines of its output."""
        self.say(f"$ {shlex.join(command)}")
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            self._run(command, file)
            file.seek(0)
            for line in itertools.islice(file, lines):
                self.say(line.rstrip())

    def document(self, command: Sequence[str], path: Path) -> dict[str, Any]:
        """Run a command whose JSON goes into a file."""
        self.say(f"$ {shlex.join(command)} > {shlex.quote(str(path))}")
        with path.open("w", encoding="utf-8") as file:
            self._run(command, file)
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return document

    def _run(self, command: Sequence[str], stdout: IO[str] | int) -> None:
        program = find_program(command[0])
        stderr = subprocess.DEVNULL if self._quiet else None
        status = subprocess.run(
            [program, *command[1:]], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, check=False
        ).returncode
        if status:
            known = status in {int(code) for code in ExitCode}
            code = ExitCode(status) if known else ExitCode.USAGE
            ended = f"exit code {status}" if status > 0 else f"signal {-status}"
            raise StepFailedError(f"the demo stops: {shlex.join(command)} ended with {ended}", code)
