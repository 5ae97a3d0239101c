"""Flower's programs, in a folder of their own: a SuperLink, SuperNodes, and ``flwr run``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_START_S = 120.0
_CONNECTION = """[superlink]
default = "here"
[superlink.here]
address = "{address}:{port}"
{lines}
"""


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Flower:
    """Processes of one fleet; all end with the ``with`` block.

    Args:
        folder: for logs and Flower's own files.
        programs: where ``flwr`` and ``flower-superlink`` are.
        boards: of a simulation by Flower's own engine; None for SuperNodes as processes.
        tls: folder with ``ca.crt``, ``server.crt`` and ``server.key``; None for no encryption.
        address: of the SuperLink.
        inside: by the name of a program the words that start it somewhere else, as in a network namespace.
    """

    def __init__(
        self,
        folder: Path,
        programs: Path,
        boards: int | None = None,
        tls: Path | None = None,
        address: str = "127.0.0.1",
        inside: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._folder, self._programs, self._boards, self._tls = folder, programs, boards, tls
        self._address, self._inside = address, inside or {}
        self.port = free_port()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "FLWR_HOME": str(folder / "home"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "OMP_NUM_THREADS": "1",
            "RAY_worker_niceness": "0",
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        (folder / "home").mkdir(parents=True)
        lines = "insecure = true" if tls is None else f'root-certificates = "{tls / "ca.crt"}"'
        if boards is not None:
            lines += f"\noptions.num-supernodes = {boards}\noptions.backend.client-resources.num-cpus = 1\n"
            lines += "options.backend.init-args.num-cpus = 2"
        (folder / "home" / "config.toml").write_text(_CONNECTION.format(address=address, port=self.port, lines=lines))

    def __enter__(self) -> Flower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._running):
            self.kill(name)

    def start_superlink(self, *options: str) -> None:
        """Start the server and wait until it answers."""
        secret = ["--insecure"]
        if self._tls is not None:
            secret = ["--ssl-ca-certfile", str(self._tls / "ca.crt")]
            secret += ["--ssl-certfile", str(self._tls / "server.crt"), "--ssl-keyfile", str(self._tls / "server.key")]
        if "superlink" in self._inside:
            secret += ["--host", "0.0.0.0"]  # noqa: S104 - all of the namespace
        more = ["--simulation"] if self._boards is not None else ["--database", str(self._folder / "link.db")]
        words = ["flower-superlink", *secret, "--port", str(self.port), "--disable-runtime-dependency-installation"]
        self._start("superlink", [*words, *more, *options])
        self._wait(self._address, self.port, "superlink")

    def start_supernode(
        self, name: str, config: Mapping[str, str], *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a board's program and wait until it listens, if that can be seen from here."""
        port = free_port()
        text = " ".join(f'{key}="{value}"' for key, value in config.items())
        secret = ["--insecure"] if self._tls is None else ["--root-certificates", str(self._tls / "ca.crt")]
        words = ["flower-supernode", *secret, "--superlink", f"{self._address}:{self.port}", "--port", str(port)]
        self._start(name, [*words, "--node-config", text, *options], environment)
        if name not in self._inside:
            self._wait("127.0.0.1", port, name)

    def run(self, app: Path, config: Mapping[str, str | int | float], timeout_s: float, *options: str) -> str:
        """``flwr run``; gives what it prints. With ``--stream`` it goes on to the run's end, else the run has begun.

        Raises:
            CalledProcessError: when it fails.
            TimeoutExpired: after the time.
        """
        words = [f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}" for key, value in config.items()]
        return self.command("run", str(app), "here", *options, "--run-config", " ".join(words), timeout_s=timeout_s)

    def command(self, *words: str, timeout_s: float) -> str:
        """Another command of ``flwr``; gives what it prints."""
        done = subprocess.run(
            [self._programs / "flwr", *words],
            env=self._environment,
            cwd=self._folder,
            check=True,
            text=True,
            timeout=timeout_s,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.stdout

    def kill(self, name: str) -> None:
        """End a program and all it started, at once."""
        process = self._running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def runs(self, name: str) -> bool:
        """Whether a program runs. What one that ended has left behind is ended too."""
        process = self._running.get(name)
        if process is not None and process.poll() is not None:
            self.kill(name)
        return name in self._running

    def log(self, name: str) -> str:
        """What a program wrote."""
        return (self._folder / f"{name}.log").read_text()

    def _start(self, name: str, words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*self._inside.get(name, ()), str(self._programs / words[0]), *words[1:]],
                env={**self._environment, **(environment or {})},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self, address: str, port: int, name: str) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._running[name].poll() is None:
            try:
                socket.create_connection((address, port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"{name} does not answer:\n{self.log(name)[-2000:]}")
