"""Events and the live picture: for many at once, and nobody waits for the slow."""

from __future__ import annotations

import json
import socket
import threading
import time

import httpx2
import pytest

from lightcl_edge.serve.web import connections
from served import BASE, picture, served_over_http


@pytest.fixture
def running(bundle, tmp_path):
    with served_over_http(bundle, tmp_path / "state") as found:
        yield found


def push(service, count=1, pause=0.0):
    for index in range(count):
        service.source.push(picture("red", index, side=(320, 240)))
        time.sleep(pause)


def events_of(address, seconds=30.0):
    """Kinds and contents of events, as they come."""
    with httpx2.stream("GET", f"{address}{BASE}/events", timeout=seconds) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                yield kind, json.loads(line[6:])


def test_events_tell_what_the_camera_shows_and_what_is_taught(running):
    found = {}
    stream = events_of(running.address)

    def act():
        while not running.service.hub.listeners:
            time.sleep(0.01)
        push(running.service)
        httpx2.post(f"{running.address}{BASE}/teach?class_name=red")

    threading.Thread(target=act, daemon=True).start()
    for kind, content in stream:
        found[kind] = content
        if {"live", "taught"} <= set(found):
            break
    stream.close()
    assert found["live"]["answer"]["kind"] == "nothing learned" and found["taught"] == {"red": 1}
    until = time.monotonic() + 5
    while running.service.hub.listeners:  # whoever leaves is forgotten
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_newest_frame_is_given_when_it_comes(running):
    push(running.service)
    first = httpx2.get(f"{running.address}{BASE}/frames/latest")
    number = int(first.headers["x-frame"])
    threading.Timer(0.3, push, (running.service,)).start()
    started = time.monotonic()
    second = httpx2.get(f"{running.address}{BASE}/frames/latest?after={number}", timeout=8)
    assert int(second.headers["x-frame"]) == number + 1 and 0.2 < time.monotonic() - started < 5
    assert second.content.startswith(b"\xff\xd8") and second.headers["cache-control"] == "no-store"


def test_without_a_new_frame_nothing_is_given(running, monkeypatch):
    from lightcl_edge.serve.api import watching

    monkeypatch.setattr(watching.next_frame, "__defaults__", (0.1,))
    assert httpx2.get(f"{running.address}{BASE}/frames/latest?after=7").status_code == 204


def test_the_live_picture_goes_on(running):
    push(running.service)
    frames = 0
    with httpx2.stream("GET", f"{running.address}{BASE}/frames/live", timeout=8) as answer:
        assert "multipart/x-mixed-replace" in answer.headers["content-type"]
        for chunk in answer.iter_bytes():
            frames += chunk.count(b"--frame\r\n")
            if frames == 3:
                break
            push(running.service)


def test_a_client_that_does_not_read_is_cut_off_and_delays_nobody(running, monkeypatch):
    monkeypatch.setattr(connections, "_PATIENCE_SECONDS", 0.3)
    port = int(running.address.rpartition(":")[2])
    slow = socket.create_connection(("127.0.0.1", port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(f"GET {BASE}/frames/live HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    sent, slowest, frame = 0, 0.0, picture("red", side=(640, 480))
    while sent < 400 and running.server.server_state.connections:
        before = time.monotonic()
        running.service.source.push(frame)
        slowest = max(slowest, time.monotonic() - before)
        sent += 1
        time.sleep(0.02)
    assert sent < 400 and slowest < 1.0
    slow.close()


def test_a_connection_that_says_nothing_is_closed(running, monkeypatch):
    monkeypatch.setattr(connections, "_PATIENCE_SECONDS", 0.3)
    port = int(running.address.rpartition(":")[2])
    for dribble in (b"", b"GET / HTTP/1.1\r\nhost: loc"):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as silent:
            silent.sendall(dribble)
            assert silent.recv(100) == b""
    assert httpx2.get(f"{running.address}{BASE}/status").status_code == 200


def test_there_are_only_so_many_connections(running, monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 5)
    port = int(running.address.rpartition(":")[2])
    taken = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(8)]
    closed = 0
    for each in taken[5:]:
        try:
            closed += each.recv(1) == b""
        except OSError:
            closed += 1
    assert closed == 3
    for each in taken:
        each.close()
    time.sleep(0.2)
    assert httpx2.get(f"{running.address}{BASE}/status").status_code == 200
