"""Many at once, slow, cut and hostile ones: nothing breaks, memory stays bounded, the camera keeps its rate."""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from contextlib import suppress

import pytest

from lightcl_edge.machine.process_memory import sample
from served import BASE, picture
from server_process import ServerProcess
from small_video import make_video

HOSTILE_PATHS = (
    *("/", "/login", "/metrics", "//evil", "/%ff%fe", "*", "http://evil.example/"),
    *("/static/../../etc/passwd", "/static/x/%2e%2e%2fsecret", f"{BASE}/taught/..%2f..", f"{BASE}/queue/{'9' * 500}"),
    *(f"{BASE}/frames/latest?after=99999999999999999999", f"{BASE}/teach?class_name=%00"),
    *(f"{BASE}/learn", f"{BASE}/predict", f"{BASE}/settings"),
)


def hostile_request(chance):
    """Bytes that nobody would send by accident."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 400)) + b"\r\n\r\n"
    method = chance.choice(["GET", "POST", "PUT", "DELETE", "TRACE", "FOO", "get", "HEAD"])
    host = chance.choice(["localhost", "localhost", "evil.example", "", "a" * 300])
    head = f"{method} {chance.choice(HOSTILE_PATHS)} HTTP/1.1\r\nhost: {host}\r\n"
    if kind == 1:
        head += "x: " + "y" * chance.randrange(10, 40_000) + "\r\n"
    if kind == 2:
        return (head + "content-length: 99999999\r\n\r\n").encode() + chance.randbytes(100)
    if kind == 3:
        return (head + "transfer-encoding: chunked\r\n\r\n").encode() + b"ffffffff\r\n" + chance.randbytes(200)
    body = chance.choice([b"{", b"[" * 5000, b'{"ids":' + b'["0"],' * 50, chance.randbytes(300), picture("red")[:200]])
    return (head + f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n").encode() + body


def attack(port, requests, failures):
    chance = random.Random(requests)
    for _ in range(requests):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            link.sendall(hostile_request(chance))
            if chance.random() < 0.5:
                answer = link.recv(200)
                if b" 500 " in answer[:20]:
                    failures.append(answer)


class Watchers:
    """Clients on the live picture: some read, some do not, some go and come back."""

    def __init__(self, port, count):
        self._port, self.received, self._stop = port, 0, threading.Event()
        self._selector = selectors.DefaultSelector()
        self._idle = [self._open() for _ in range(count // 5)]
        for _ in range(count - count // 5):
            self._selector.register(self._open(), selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _open(self):
        link = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        link.sendall(f"GET {BASE}/frames/live HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        return link

    def _read(self):
        chance = random.Random(0)
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.2):
                with suppress(OSError):
                    self.received += len(key.fileobj.recv(2**16))
                if chance.random() < 0.001:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self._selector.register(self._open(), selectors.EVENT_READ)

    def close(self):
        self._stop.set()
        self._thread.join()
        for link in [*self._idle, *(key.fileobj for key in self._selector.get_map().values())]:
            link.close()


def frames_per_second(api):
    return api.get("/status").json()["source"]["frames_per_second"]


@pytest.mark.parametrize(
    ("clients", "seconds", "requests"), [(20, 3, 150), pytest.param(100, 60, 10_000, marks=pytest.mark.slow)]
)
def test_a_crowd_and_hostile_requests_change_nothing(bundle, tmp_path, clients, seconds, requests):
    video = make_video(tmp_path / "video.mp4", seconds=2, rate=8)
    with ServerProcess(tmp_path / "state", "--source", video, bundle=bundle) as server:
        until = time.monotonic() + 30
        while frames_per_second(server.api) < 5:
            assert time.monotonic() < until
            time.sleep(0.2)
        time.sleep(1)
        rate, before = frames_per_second(server.api), sample(server.process.pid).pss_bytes
        watchers, failures = Watchers(server.port, clients), []
        attacker = threading.Thread(target=attack, args=(server.port, requests, failures))
        attacker.start()
        time.sleep(seconds)
        attacker.join()
        found = frames_per_second(server.api)
        watchers.close()
        assert server.process.poll() is None and failures == []
        assert found > 0.7 * rate, (found, rate)
        assert watchers.received > clients * 10_000
        assert sample(server.process.pid).pss_bytes - before < 40 * 2**20
        assert server.end() == 0
    assert "Traceback" not in "".join(server.said)
