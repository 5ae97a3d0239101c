"""The fleet's page tells what the rounds were, and escapes what boards say."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from test_rounds import Boards

from fleet_device import NETWORK, SIZE, Device, devices_in
from lightcl_edge.files.durable import calls_through
from lightcl_host.fleet.page import fleet_page
from lightcl_host.fleet.rounds import SHARE, Packet, play_round
from lightcl_host.fleet.run import FleetOptions, run_fleet
from lightcl_host.fleet.store import Network, Store
from power_cut import Unsynced
from small_bundle import COLOURS, make_bundle, make_folder


def test_the_page_of_a_fleet(tmp_path):
    devices: list[Device] = devices_in(tmp_path, 2)
    devices[0].learn("cat", np.full((2, SIZE), 0.25, np.float32))
    devices[0].learn("dog", np.full((1, SIZE), 0.25, np.float32))
    devices[1].learn("<b>", np.full((3, SIZE), 0.5, np.float32))
    store, link = Store(tmp_path / "store", Network(NETWORK, SIZE)), Boards(devices)
    rounds = [{"ended": 1.8e9, **asdict(play_round(1, link, store)), "accuracy_before": None, "accuracy_after": 0.875}]
    link.share = lambda node, packet: Packet({"board": "board1", "boards": {}}, {"k": b"nonsense"})
    rounds.append({"ended": 1.8e9 + 60, **asdict(play_round(2, link, store))})
    page = fleet_page(store.records, json.loads(json.dumps(rounds)))
    text = " ".join(re.sub("<[^>]*>", " ", page.split("<main>")[1]).split())
    assert "2 boards know 3 classes together. Last round: 2027-01-15 08:01:00 UTC, 2 boards there." in text
    assert "board0 1 cat (2), dog (1) 2027-01-15 08:00:00 UTC" in text and "87.5" in text
    assert "&lt;b&gt;" in page and "<b>" not in page and "src=" not in page and "://" not in page


class Shared:
    """Boards that send a file each, and take nothing in."""

    def __init__(self, files):
        self.nodes, self.files = lambda: range(len(files)), files

    def ask(self, what, packets):
        answers = [Packet({"board": path.name, "boards": {}}, {"k": path.read_bytes()}) for path in self.files]
        return {node: answers[node] if what == SHARE else Packet() for node in packets}


@pytest.mark.parametrize("send", ["files", "pool"])
def test_accuracy_on_the_servers_pictures_before_and_after_a_round(edge, tmp_path, send):
    bundle, files = make_bundle(tmp_path / "bundle"), [tmp_path / "one", tmp_path / "two"]
    with calls_through(Unsynced()):
        for file, classes in zip(files, (["red", "green"], ["blue", "grey"]), strict=True):
            data, state = make_folder(tmp_path / f"{file.name}-data", classes), tmp_path / f"{file.name}-state"
            for each in (state, tmp_path / "all"):
                words = ("--bundle", bundle, "--state", each, "--data", data)
                edge("train", *words, "--engine", "ort", "--strategy", "slda")
            edge("share", "--state", state, "--out", file, "--board", file.name)
    test = make_folder(tmp_path / "test", COLOURS, seed=1)
    wanted = json.loads(edge("evaluate", "--state", tmp_path / "all", "--data", test, "--json")[0])["accuracy"]
    said, options = [], FleetOptions(bundle, tmp_path / "store", test=str(test), send=send)
    for known in (1, 2):  # two runs: what the first one knew is the second's accuracy before
        run_fleet(options, Shared(files[:known]), said.append)
    run_fleet(replace(options, test=str(tmp_path / "nothing")), Shared(files), said.append)
    text = (tmp_path / "store" / "rounds.jsonl").read_text()
    accuracies = [(each["accuracy_before"], each["accuracy_after"]) for each in map(json.loads, text.splitlines())]
    half = accuracies[0][1]
    assert accuracies == [(None, half), (half, wanted), (None, None)] and 0.2 < half <= 0.5 < wanted, said
    assert any("no accuracy: " in line and "nothing" in line for line in said)
    page = (tmp_path / "store" / "fleet.html").read_text()
    assert f"{half:.1%}" in page and f"{wanted:.1%}" in page
