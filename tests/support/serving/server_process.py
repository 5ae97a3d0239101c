"""A server in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time

import httpx2

BASE = "/api/v1"


class ServerProcess:
    """``lightcl-edge serve`` on a free port; ``api`` is a client of its interface."""

    def __init__(self, state, *words, bundle=None, environment=None, listen="127.0.0.1:0"):
        command = [sys.executable, "-m", "lightcl_edge", "serve", "--state", str(state), "--listen", listen]
        command += ["--bundle", str(bundle)] if bundle else []
        command += ["--train", "--engine ort --epochs 4 --threads 1", "--threads", "1", *map(str, words)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.said = []
        threading.Thread(target=self._listen, daemon=True).start()
        self.address = self._wait_for(r"open (\S+) in a browser")
        self.port = int(self.address.rstrip("/").rpartition(":")[2])
        self.api = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}{BASE}", timeout=30)

    def _listen(self):
        for line in self.process.stderr:
            self.said.append(line)

    def _wait_for(self, pattern):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if found := re.search(pattern, "".join(self.said)):
                return found[1] if found.groups() else found[0]
            assert self.process.poll() is None, "".join(self.said)
            time.sleep(0.02)
        raise AssertionError("".join(self.said))

    def wait_ready(self):
        """Until it answers."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                return self.api.get("/status").json()
            except (httpx2.TransportError, ValueError):
                time.sleep(0.02)
        raise AssertionError("".join(self.said))

    def end(self, number=signal.SIGTERM):
        """Send a signal; gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def __enter__(self):
        self.wait_ready()
        return self

    def __exit__(self, *_):
        self.api.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
