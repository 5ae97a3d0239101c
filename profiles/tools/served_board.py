"""A server in a process of its own, with a client that stands for its page."""

import http.client
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from lightcl_edge.machine.process_memory import sample

_BASE = "/api/v1"
_REST_SECONDS, _LONGEST_SECONDS = 5.0, 120.0
_MOMENTS_A_SAMPLE = 5


@dataclass(frozen=True)
class AtRest:
    """While a page is open and nothing is learned."""

    server_bytes: int  # proportional set size, as below
    camera_bytes: int
    frame_to_event_seconds: float  # median


@dataclass(frozen=True)
class Learned:
    seconds: float  # from the request to learn to the first sure new answer
    train_seconds: float  # inside ``train``, without starting its process
    most_bytes: int  # server and learner together


class ServedBoard:
    """``lightcl-edge serve`` on a free port, watched by a page: its events, and its frames one at a time."""

    def __init__(self, state: Path, words: list[str]) -> None:
        command = [sys.executable, "-m", "lightcl_edge", "serve", "--state", str(state), "--listen", "127.0.0.1:0"]
        self._process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = b""
        while (found := re.search(rb"open http://127.0.0.1:(\d+)/", said)) is None:
            line = self._process.stderr.readline() if self._process.stderr else b""
            if not line:
                raise SystemExit(f"the server did not start: {said.decode()}")
            said += line
        self._port = int(found[1])
        self._lags: list[float] = []
        self._live: dict[str, Any] = {}
        self._open = True
        for work in (self._hear, self._look):
            threading.Thread(target=work, daemon=True).start()

    def __enter__(self) -> "ServedBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._process.terminate()
        self._process.wait()

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        link.request(method, f"{_BASE}{path}", body, {"content-type": "application/json"} if body else {})
        answer = link.getresponse()
        content = answer.read()
        link.close()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {content.decode()}")
        found: dict[str, Any] = json.loads(content)
        return found

    def teach(self, name: str, pictures: list[Path]) -> None:
        for each in pictures:
            self.ask("POST", f"/teach?class_name={quote(name)}", each.read_bytes())

    def learn(self) -> dict[str, Any]:
        """Learn what was taught; gives how it ended."""
        self.ask("POST", "/learn", b"{}")
        for _ in self._moments():
            if not (found := self.ask("GET", "/learn"))["running"]:
                break
        if found["outcome"]["kind"] != "learned":
            raise SystemExit(f"not learned: {found['outcome']['message']}")
        outcome: dict[str, Any] = found["outcome"]
        return outcome

    def at_rest(self) -> AtRest:
        """Measured over some seconds, after the first predictions."""
        time.sleep(_REST_SECONDS / 2)
        self._lags.clear()
        time.sleep(_REST_SECONDS)
        camera = sum(_pss(pid) for pid in _children(self._process.pid))
        return AtRest(_pss(self._process.pid), camera, median(self._lags))

    def learn_what_is_seen(self, name: str, pictures: int) -> Learned:
        """Teach frames of the camera as a new class and learn it; the class is forgotten afterwards."""
        after = 0
        for _ in range(pictures):
            after = self.ask("POST", f"/teach?class_name={quote(name)}&after={after}")["frame"]
            time.sleep(0.1)
        threading.Thread(target=self.ask, args=("GET", "/learn/plan"), daemon=True).start()  # as the page does
        time.sleep(1.0)  # a person reads, and presses
        watching = _children(self._process.pid)
        started, most = time.monotonic(), 0
        self.ask("POST", "/learn", b"{}")
        for moment in self._moments():
            if moment % _MOMENTS_A_SAMPLE == 0:  # adding up a process's pages holds it up
                learners = [pid for pid in _children(self._process.pid) if pid not in watching]
                most = max(most, _pss(self._process.pid) + sum(map(_pss, learners)))
            answer = self._live.get("answer", {})
            if answer.get("kind") == "sure" and answer.get("class_name") == name:
                break
        seconds = time.monotonic() - started
        for _ in self._moments():
            if not (found := self.ask("GET", "/learn"))["running"]:
                break
        self.ask("POST", "/forget", json.dumps({"class_name": name}).encode())
        return Learned(seconds, found["outcome"]["seconds"], most)

    def _moments(self) -> Iterator[int]:
        until, numbers = time.monotonic() + _LONGEST_SECONDS, itertools.count()
        while time.monotonic() < until:
            yield next(numbers)
            time.sleep(0.02)
        raise SystemExit(f"it took more than {_LONGEST_SECONDS:.0f} s")

    def _hear(self) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        link.request("GET", f"{_BASE}/events")
        answer, live = link.getresponse(), False
        while self._open and (line := answer.readline()):
            if line.startswith(b"event: "):
                live = line.startswith(b"event: live")
            elif live and line.startswith(b"data: "):
                self._live = json.loads(line[6:])
                self._lags.append(time.time() - self._live["taken_at"])

    def _look(self) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        number = 0
        while self._open:
            link.request("GET", f"{_BASE}/frames/latest?after={number}")
            answer = link.getresponse()
            answer.read()
            number = int(answer.headers.get("x-frame", number))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread may end meanwhile
            found += map(int, (thread / "children").read_text().split())
    return found


def _pss(pid: int) -> int:
    try:
        return sample(pid).pss_bytes or 0
    except OSError:  # it has ended
        return 0
