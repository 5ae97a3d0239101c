"""The server's application inside the tests' process, and pictures to teach it."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from lightcl_edge.serve.app import make_app, make_gate
from lightcl_edge.serve.options import ServeOptions
from lightcl_edge.serve.service import Service
from lightcl_edge.serve.sources.contract import Source, SourceStatus
from lightcl_edge.serve.sources.pushed import PushedSource
from lightcl_edge.serve.web.passwords import write_password
from small_bundle import COLOURS

#: A tiny network learns in a moment.
TRAIN = ["--engine", "ort", "--epochs", "4", "--threads", "1"]
BASE = "/api/v1"


def picture(colour, seed=0, noise=60, side=(48, 32)):
    """A noisy JPEG of one colour."""
    pixels = np.random.default_rng(seed).normal(COLOURS[colour], noise, (side[1], side[0], 3))
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


@contextmanager
def served(bundle, state, *, source=None, password=None, address=("127.0.0.1", 50000), secure=False, **options):
    """A client of a server that runs in this process; ``client.service`` is what is behind it."""
    options = ServeOptions(state=state, bundle=bundle, train_arguments=TRAIN, **options)
    options.folder.mkdir(parents=True, exist_ok=True)
    if password is not None:
        write_password(options.folder, password)
    service = Service(options, source or PushedSource())
    app = make_app(service, make_gate(options, secure=secure))
    with TestClient(app, base_url="http://localhost", client=address, follow_redirects=False) as client:
        client.service = service
        yield client


def teach(client, colour, count=8, seed=0):
    """Teach pictures of a colour under its name."""
    for index in range(count):
        body = picture(colour, seed * 1000 + index)
        answer = client.post(f"{BASE}/teach", params={"class_name": colour}, content=body)
        assert answer.status_code == 201, answer.text


def learned(client, **wish):
    """Learn what was taught; gives how it ended."""
    answer = client.post(f"{BASE}/learn", json=wish)
    assert answer.status_code == 202, answer.text
    until = time.monotonic() + 60
    while (state := client.get(f"{BASE}/learn").json())["running"]:
        assert time.monotonic() < until
        time.sleep(0.02)
    return state["outcome"]


@contextmanager
def served_over_http(bundle, state, *, source=None, password=None, secure=False, **options):
    """The same over real connections; gives the address, with ``service`` as an attribute of what is yielded."""
    import socket

    import uvicorn

    from lightcl_edge.serve.server import Server
    from lightcl_edge.serve.web.connections import PatientProtocol

    options = ServeOptions(state=state, bundle=bundle, train_arguments=TRAIN, **options)
    options.folder.mkdir(parents=True, exist_ok=True)
    if password is not None:
        write_password(options.folder, password)
    service = Service(options, source or PushedSource())
    app = make_app(service, make_gate(options, secure=secure))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=PatientProtocol, ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = Server(config, service)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until and thread.is_alive()
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", service, server)
    finally:
        server.should_exit = True
        thread.join()


class Served:
    def __init__(self, address, service, server):
        self.address, self.service, self.server = address, service, server


def photograph(name, count, side=(480, 360)):
    """A part of one of scikit-learn's two photographs, which wanders: ``flower`` or ``temple``."""
    from sklearn.datasets import load_sample_image

    whole = Image.fromarray(load_sample_image({"flower": "flower.jpg", "temple": "china.jpg"}[name]))
    left = int((whole.width - side[0]) * (0.5 + 0.5 * np.sin(count / 9)))
    top = int((whole.height - side[1]) * (0.5 + 0.5 * np.cos(count / 14)))
    out = io.BytesIO()
    whole.crop((left, top, left + side[0], top + side[1])).save(out, "JPEG", quality=85)
    return out.getvalue()


class Camera(Source):
    """A camera before which things are held: ``show("red")``."""

    kind = "v4l2"

    def __init__(self, colour="grey", frames_per_second=12, look=None):
        super().__init__()
        self.colour, self._pause = colour, 1 / frames_per_second
        self._look = look or (lambda name, count: picture(name, count, side=(160, 120)))
        self._count = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def show(self, colour):
        self.colour = colour

    def status(self):
        return SourceStatus(self.kind, True, "", self._frames_per_second())

    def _run(self):
        while not self._closed:
            self._count += 1
            self._publish(self._look(self.colour, self._count))
            time.sleep(self._pause)
