"""The server as a process: how it starts, whom it refuses, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress

import httpx2
import pytest

from lightcl_edge.state.state import State
from served import picture
from server_process import ServerProcess
from small_bundle import COLOURS


def teach(api, colours, count=6):
    for colour in colours:
        for index in range(count):
            answer = api.post("/teach", params={"class_name": colour}, content=picture(colour, index))
            assert answer.status_code == 201, answer.text


def wait_until(done, seconds=60):
    until = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def test_sigterm_in_the_middle_of_learning_keeps_what_was_done(bundle, tmp_path):
    state = tmp_path / "state"
    long = ("--train", "--engine ort --epochs 20000 --threads 1 --strategy finetune --max-forgetting 1")
    with ServerProcess(state, *long, bundle=bundle) as server:
        teach(server.api, ("red", "green"))
        assert server.api.post("/learn", json={}).status_code == 202
        wait_until(lambda: (now := server.api.get("/learn").json())["done"] > 0 and "epochs" in now["step"])
        assert server.api.post("/learn", json={}).status_code == 409  # one at a time
        assert "is being learned" in server.api.post("/rollback", json={"to": 0}).text
        teach(server.api, ("blue",), 1)  # taught meanwhile: of the next task
        assert server.end() == 0
    assert (state / "work" / "checkpoint.json").exists() and State(state).current_number() == 0
    assert len(list((state / "serve" / "spool" / ".learning").rglob("*.jpg"))) == 12
    with ServerProcess(state, *long) as server:
        status = server.api.get("/status").json()
        assert status["learning"]["running"] and status["learning"]["pictures"] == 12
        assert status["taught"] == {"blue": 1}
        assert server.end(signal.SIGINT) == 0


def test_after_a_restart_a_task_that_was_cut_short_is_learned(bundle, tmp_path):
    state = tmp_path / "state"
    with ServerProcess(state, bundle=bundle) as server:
        teach(server.api, ("red", "green"))
        server.api.post("/learn", json={})
        server.end(signal.SIGKILL)
    with ServerProcess(state, bundle=bundle) as server:
        found = wait_until(lambda: server.api.get("/learn").json()["outcome"])
        assert found["kind"] == "learned" and server.api.get("/status").json()["classes"] == ["green", "red"]
    assert State(state).read().meta.tasks == 1 and not list((state / "serve" / "spool").rglob("*.jpg"))


def run(*words, stdin=""):
    command = [sys.executable, "-m", "lightcl_edge", "serve", *map(str, words)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_nobody_else_is_let_in_without_a_password(bundle, tmp_path):
    done = run("--state", tmp_path / "s", "--bundle", bundle, "--listen", "0.0.0.0:0")
    assert done.returncode == 2 and "no password is set" in done.stderr and "--set-password" in done.stderr
    assert run("--state", tmp_path / "s", "--set-password", stdin="short\n").returncode == 2
    assert run("--state", tmp_path / "s", "--set-password", stdin="long enough\n").returncode == 0
    kept = (tmp_path / "s" / "serve" / "password.json").read_text()
    assert "long enough" not in kept and (tmp_path / "s" / "serve").stat().st_mode & 0o077 == 0


def test_beyond_this_machine_it_speaks_tls_with_a_certificate_of_its_own(bundle, tmp_path):
    state = tmp_path / "s"
    run("--state", state, "--set-password", stdin="long enough\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerProcess, "wait_ready", lambda self: None)
        with ServerProcess(state, bundle=bundle, listen="0.0.0.0:0") as server:
            shown = server._wait_for(r"fingerprint is ([0-9A-F:]+)").replace(":", "").lower()
            certificate = ssl.get_server_certificate(("127.0.0.1", server.port))
            import hashlib

            assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest() == shown
            base = f"https://127.0.0.1:{server.port}"
            with httpx2.Client(verify=False, base_url=base) as client:
                assert client.get("/api/v1/status").status_code == 401
                answer = client.post("/login", data={"password": "long enough"})
                assert answer.status_code == 303 and "Secure" in answer.headers["set-cookie"]
                assert client.get("/api/v1/status").status_code == 200
    key = state / "serve" / "tls" / "key.pem"
    assert key.exists() and key.parent.stat().st_mode & 0o077 == 0


def test_mistakes_are_said_in_one_line(edge, bundle, tmp_path):
    state = ("--state", tmp_path / "s")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "choose another --listen" in edge("serve", *state, "--bundle", bundle, "--listen", busy, code=2)[1]
    free = ("--listen", "127.0.0.1:0")
    cases = [
        (("--listen", "nonsense"), 2, "expected ADDRESS:PORT"),
        (free, 6, "name a --bundle"),
        (("--bundle", bundle, *free, "--source", "magic:1"), 2, "--source is 'magic:1'"),
        (("--bundle", bundle, *free, "--cert", "x"), 2, "belong together"),
        (("--train", "--state x"), 2, "--train sets --state"),
    ]
    for words, code, message in cases:
        assert message in edge("serve", *state, *words, code=code)[1]


def test_systemd_hears_that_it_is_ready_alive_and_ending(bundle, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(path)
        channel.settimeout(30)
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
        with ServerProcess(tmp_path / "s", bundle=bundle, environment=environment) as server:
            heard = [channel.recv(100).decode() for _ in range(4)]
            assert heard[0] == "READY=1" and heard.count("WATCHDOG=1") >= 2
            assert server.end() == 0
            while "STOPPING=1" not in heard:
                heard.append(channel.recv(100).decode())


def test_a_camera_that_is_missing_is_shown_and_ends_nothing(bundle, tmp_path):
    with ServerProcess(tmp_path / "s", "--source", "folder:/nowhere/at/all", bundle=bundle) as server:
        source = wait_until(lambda: (s := server.api.get("/status").json()["source"])["message"] and s)
        assert not source["working"] and "/nowhere/at/all" in source["message"]


def test_figures_for_prometheus(bundle, tmp_path):
    with ServerProcess(tmp_path / "s", bundle=bundle) as server:
        teach(server.api, list(COLOURS)[:1], 2)
        text = httpx2.get(f"http://127.0.0.1:{server.port}/metrics").text
    assert float(re.search(r"^lightcl_pss_bytes (\S+)$", text, re.MULTILINE)[1]) > 10 * 2**20
    assert 'lightcl_taught_pictures{class_name="red"} 2.0' in text and "lightcl_learning 0.0" in text


def test_an_end_in_the_middle_of_a_request_is_no_news(bundle, tmp_path):
    with ServerProcess(tmp_path / "s", bundle=bundle) as server:
        teach(server.api, list(COLOURS)[:2], 3)
        asking = threading.Thread(target=suppressed, args=(server.api.get, "/learn/plan"))
        asking.start()
        time.sleep(0.2)
        assert server.end() == 0
        asking.join()
        assert "Traceback" not in "".join(server.said) and "Exception" not in "".join(server.said)


def suppressed(work, *arguments):
    with suppress(httpx2.TransportError):
        work(*arguments)
