"""Bundles over the air: offered by a web server, taken by a state, and given back where they fail."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.signature import make_key_pair
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import UsageError
from lightcl_edge.files.durable import calls_through
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.fleet.offer import make_offer
from lightcl_edge.fleet.update import UpdateOptions, make_plan, prepare, switch
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.serve.web.tls import own_certificate
from lightcl_edge.state.change import changing
from lightcl_edge.state.state import State
from lightcl_edge.state.updates import read_updates
from power_cut import Recorder, Unsynced, fates
from small_bundle import DEFAULTS, make_bundle, make_folder

pytest.importorskip("cryptography")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder; bundles from any byte on, at most so many bytes of them."""

    def __init__(self, *arguments, most=None, **named):
        self.most = most
        super().__init__(*arguments, **named)

    def do_GET(self):
        if not self.path.endswith(".lclb"):
            return super().do_GET()
        data, start = (
            Path(self.translate_path(self.path)).read_bytes(),
            int(self.headers.get("Range", "bytes=0-")[6:-1]),
        )
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.end_headers()
        return self.wfile.write(data[start:][: self.most])

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder, tls=None, **named):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder), **named)) as server:
        server.starts = []
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/", server.starts
        server.shutdown()


@pytest.fixture(scope="module")
def made(edge, tmp_path_factory):
    """A state that learned two tasks, with pictures as the page keeps them, and an offer of another trunk."""
    folder = tmp_path_factory.mktemp("air")
    make_key_pair(folder / "fleet")
    bundle = make_bundle(folder / "first")
    with calls_through(Unsynced()):
        for number, names in ((1, ["red", "green"]), (2, ["blue"])):
            data = make_folder(folder / "s/serve/spool/.learned" / f"00000{number}", names)
            edge("train", "--bundle", bundle, "--state", folder / "s", "--data", data, "--strategy", "slda")
    offer(folder, make_bundle(folder / "second", seed=1))
    return folder


@pytest.fixture
def air(made, tmp_path):
    return shutil.copytree(made, tmp_path / "air")


def offer(air, bundle, number=None):
    return make_offer(bundle, air / "fleet.key", number, air / "offers")


def update(edge, air, *more, code=0, source=None):
    words = ["update", "--state", air / "s", "--from", source or air / "offers", "--key", air / "fleet.pub", *more]
    out, err = edge(*words, "--json", code=code)
    return err if code else json.loads(out)


def known(state):
    """What would predict, without starting a trial."""
    state = State(state)
    return state.bundle().identity, state.read().meta.generation, tuple(state.read().meta.classes)


def scores(state):
    return Predictor(state).scores(IMAGES).probabilities


def test_another_network_learns_kept_pictures_again(edge, air):
    folder, before, old = air / "s", known(air / "s"), scores(air / "s")
    with serving(air / "offers") as (url, _):
        foreseen = update(edge, air, "--dry-run", source=url)
        assert foreseen["outcome"] == "would be taken" and known(folder) == before
        found = update(edge, air, source=url)
    assert found["kept_classes"] == foreseen["kept_classes"] == ["green", "red", "blue"] and found["frames"] == 36
    assert found["outcome"] == "taken" and not found["lost_classes"] and not found["same_network"]
    assert known(folder)[1:] == (3, ("green", "red", "blue")), "in their order"
    assert "offer 1 is on trial" in edge("status", "--state", folder)[0]
    assert "not predicted yet" in edge("forget", "--state", folder, "--class", "red", code=6)[1]
    assert scores(folder).shape == (6, 3) and read_updates(folder).trial is None
    assert update(edge, air)["outcome"] == "nothing new"
    edge("rollback", "--state", folder)
    assert known(folder) == before and np.array_equal(scores(folder), old)
    assert "went back from offer 1" in update(edge, air, code=7)
    edge("rollback", "--state", folder, "--to", 3)
    edge("train", "--bundle", air / "first", "--state", folder, "--data", make_folder(air / "more", ["grey"]))
    assert scores(folder).shape == (6, 4) and (folder / "bundle").is_dir()
    edge("forget", "--state", folder, "--class", "red")
    assert not (folder / "bundle").exists() and len(State(folder).numbers()) == 2, "what knew the class there is gone"
    assert State(folder).read(0).meta.classes == [] and scores(folder).shape == (6, 3)


def test_what_is_lost_is_named(edge, air):
    edge("rollback", "--state", air / "s")
    assert update(edge, air, "--dry-run")["frames"] == 24, "a rollback undid the third class"
    shutil.rmtree(air / "s/serve")
    assert update(edge, air)["lost_classes"] == ["green", "red"]
    assert "knows no classes" in edge("predict", "--state", air / "s", air / "s", code=6)[1]
    offer(air, air / "first")
    assert update(edge, air)["generation"] == 4, "a board that knows nothing may go on to the next"
    edge("rollback", "--state", air / "s", "--to", 2)
    assert scores(air / "s").shape == (6, 3)


def test_the_same_network_keeps_all_that_was_learned(edge, air):
    old = scores(air / "s")
    assert offer(air, make_bundle(air / "same", defaults=replace(DEFAULTS, epochs=3))).number == 2
    assert update(edge, air)["same_network"]
    assert np.array_equal(scores(air / "s"), old) and State(air / "s").bundle().manifest.defaults.epochs == 3


def test_wrong_golden_outputs_are_refused_once_and_for_all(edge, air):
    bundle, before = Bundle.open(air / "second"), known(air / "s")
    files = {entry.path: bundle.path(entry.path).read_bytes() for entry in bundle.manifest.files}
    golden = read_tensors(air / "second/golden.safetensors", ValueError)
    write_tensors(air / "golden", {**golden, "features": golden["features"] + 1})
    write_bundle(air / "wrong", bundle.manifest, {**files, "golden.safetensors": (air / "golden").read_bytes()})
    offer(air, air / "wrong", 7)
    assert "offer 7 is not taken" in update(edge, air, code=3)
    assert "offer 7 failed: " in edge("status", "--state", air / "s")[0]
    assert "failed here before" in update(edge, air, code=7) and known(air / "s") == before
    offer(air, air / "second", 8)
    assert update(edge, air)["generation"] == 3


def test_a_bundle_that_fails_at_its_start_is_given_back(edge, air, monkeypatch):
    before = known(air / "s")
    update(edge, air)
    monkeypatch.setattr("lightcl_edge.inference.predictor.check_golden", lambda *_: 1 / 0)
    assert scores(air / "s").shape == (6, 3) and known(air / "s") == before
    assert "ZeroDivision" in read_updates(air / "s").reason


def test_a_bundle_that_ends_its_process_is_given_back_after_three_starts(edge, air):
    before = known(air / "s")
    update(edge, air)
    broken = (
        "import os, sys, lightcl_edge.inference.predictor as module\n"
        "module.check_golden = lambda *_: os.kill(os.getpid(), 9)\nmodule.Predictor(module.Path(sys.argv[1]))"
    )
    codes = [subprocess.run([sys.executable, "-c", broken, air / "s"], check=False).returncode for _ in range(4)]
    assert codes == [-9, -9, -9, 0] and known(air / "s") == before
    assert "failed here before (its process ended in each of 3 starts)" in update(edge, air, code=7)


def test_old_offers_and_other_signers_are_refused(edge, air):
    before, old = known(air / "s"), shutil.copytree(air / "offers", air / "old")
    make_key_pair(air / "other")
    make_offer(air / "second", air / "other.key", None, air / "others")
    assert "is signed by key" in update(edge, air, code=3, source=air / "others")
    text = (air / "offers/offer.json").read_text()
    (air / "offers/offer.json").write_text(text.replace('"number": 1', '"number": 9'))
    assert "was changed after it was signed" in update(edge, air, code=3)
    (air / "offers/offer.json").write_text(text)
    offer(air, air / "second", 5)
    with pytest.raises(UsageError, match="boards take only larger numbers"):
        offer(air, air / "second", 5)
    assert known(air / "s") == before
    update(edge, air)
    scores(air / "s")
    assert "number 1, 5 was taken before" in update(edge, air, code=3, source=old)


def test_a_download_goes_on_where_it_stopped(edge, air):
    before = known(air / "s")
    with serving(air / "offers", most=5000) as (url, _):
        assert "ended after 5000 of" in update(edge, air, code=9, source=url)
    assert "can't be read" in update(edge, air, code=9, source=url)
    assert "expected http" in update(edge, air, code=2, source="ftp://server") and known(air / "s") == before
    with serving(air / "offers") as (url, starts):
        assert update(edge, air, source=url)["outcome"] == "taken" and starts == [5000]
    edge("rollback", "--state", air / "s")
    changed = air / "offers" / offer(air, air / "second").file
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    assert "has SHA-256" in update(edge, air, code=3)


def test_https_needs_a_trusted_certificate(edge, air, monkeypatch):
    certificate, key = own_certificate(air, "127.0.0.1", [])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    before = known(air / "s")
    with serving(air / "offers", tls) as (url, starts):
        refused = update(edge, air, source=url, code=9)
        assert "its certificate is not trusted here" in refused and "SSL_CERT_FILE" in refused
        assert starts == [] and known(air / "s") == before
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert update(edge, air, source=url)["outcome"] == "taken"


def test_a_full_disk_is_given_back(edge, air, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightcl_edge.fleet.update._check", full)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert "free some space" in update(edge, air, code=9)
    assert [path.name for path in (air / "s/update").iterdir()] == ["LOCK"]


def test_power_may_fail_at_any_call_of_the_switch(air, tmp_path):
    folder, cut = air / "s", tmp_path / "cut"
    options = UpdateOptions(folder, str(air / "offers"), air / "fleet.pub", None, 0.2, dry_run=False)
    plan = make_plan(State(folder), options)
    (folder / "update").mkdir()
    prepared = prepare(State(folder), plan, options, Progress(quiet=True))
    before, recorder = known(folder), Recorder(folder)
    with calls_through(recorder), changing(State(folder)) as change:
        switch(change, plan, prepared)
    seen = dict.fromkeys((before, known(folder)), 0)
    for count in range(0, len(recorder.events) + 1, 8):
        for way in ("all kept", "all lost", "random 0"):
            recorder.after_cut(count, fates(count)[way], cut)
            assert known(cut) in seen, f"call {count}, {way}"
            with calls_through(Unsynced()), changing(State(cut)):
                pass
            seen[known(cut)] += 1
            shutil.rmtree(cut)
    assert min(seen.values()) > 1, seen


@pytest.mark.slow
def test_killed_at_random_instants(air):
    command = [sys.executable, "-m", "lightcl_edge", "update", "--from", air / "offers", "--key", air / "fleet.pub"]
    started, copy = time.perf_counter(), shutil.copytree(air / "s", air / "timed")
    before = known(copy)
    subprocess.run([*command, "--state", copy], check=True)
    whole, random, after = time.perf_counter() - started, np.random.default_rng(0), known(copy)
    command += ["--state", air / "s"]
    for _ in range(12):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.2, 1.0) * whole)
        child.kill()
        child.wait()
        assert known(air / "s") in (before, after) and scores(air / "s").shape == (6, 3)
    while subprocess.run(command, check=False).returncode:  # what a killed process had started may still run
        time.sleep(1)
    assert known(air / "s") == after
