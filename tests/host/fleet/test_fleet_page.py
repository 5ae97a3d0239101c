"""The fleet's page tells what the rounds were, and escapes what boards say."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
from test_rounds import Boards, devices_in

from fleet_device import NETWORK, SIZE, Device
from lightcl_host.fleet.page import fleet_page
from lightcl_host.fleet.rounds import Packet, play_round
from lightcl_host.fleet.store import Network, Store


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
