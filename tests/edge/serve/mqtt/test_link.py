"""The link to a real broker, as Home Assistant would see it."""

import datetime
import ipaddress
import json
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from itertools import groupby
from types import SimpleNamespace

import pytest

from lightcl_edge.errors import UsageError
from lightcl_edge.serve.mqtt import link as link_module
from lightcl_edge.serve.mqtt.link import MqttLink
from lightcl_edge.serve.mqtt.options import MqttOptions
from mqtt_broker import broker, free_port
from pictures import jpeg

pytestmark = pytest.mark.skipif(
    not shutil.which("mosquitto", path="/usr/sbin:/usr/bin") or not shutil.which("mosquitto_sub"),
    reason="mosquitto is not installed",
)
BASE = "lightcl/lightcl_k_che"
STATE, PICTURE, AVAILABILITY, LEARN = (f"{BASE}/{name}" for name in ("state", "picture", "availability", "learn"))
INTRODUCTION = "homeassistant/device/lightcl_k_che/config"


@dataclass
class Answer:
    class_name: str | None
    probability: float
    kind: str


CAT, DOG, UNSURE = Answer("cat", 0.9, "sure"), Answer("dog", 0.8, "sure"), Answer("dog", 0.4, "unsure")


@pytest.fixture
def server(tmp_path):
    with broker(tmp_path, "allow_anonymous true") as found:
        yield found


@pytest.fixture
def linked():
    """Makes links and closes them at the end."""
    links = []

    def make(options, on_learn=lambda: None):
        links.append(MqttLink(options, "Küche", on_learn))
        return links[-1]

    yield make
    for each in links:
        each.close()


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def states(listener):
    return [json.loads(each) for each in listener.of(STATE)]


def test_a_board_appears_with_all_that_home_assistant_needs(server, linked):
    early = server.listen(topic=STATE)
    linked(MqttOptions("127.0.0.1", server.port)).publish(CAT, jpeg(1))
    assert early.wait(lambda: early.heard)
    listener = server.listen()
    kept = {INTRODUCTION, AVAILABILITY, STATE}  # so Home Assistant finds them after its own restart
    assert listener.wait(lambda: {topic for topic, retained, _ in listener.heard if retained} == kept)
    about = json.loads(listener.of(INTRODUCTION)[0])
    assert about["device"]["name"] == "Küche"
    assert about["origin"]["name"] == "lightcl-edge"
    assert listener.of(about["availability_topic"]) == [about["payload_available"].encode()]
    parts = about["components"]
    platforms = {"class": "sensor", "unsure": "binary_sensor", "never_seen": "binary_sensor", "learn": "button"}
    assert {name: part["platform"] for name, part in parts.items()} == {**platforms, "picture": "image"}
    assert len({part["unique_id"] for part in parts.values()}) == 5
    assert (parts["learn"]["command_topic"], parts["learn"]["payload_press"]) == (LEARN, "learn")
    assert parts["picture"]["image_topic"] == PICTURE
    state = states(listener)[0]
    for name, text in (("class", "cat"), ("unsure", "OFF"), ("never_seen", "OFF")):
        assert parts[name]["state_topic"] == STATE
        assert parts[name]["value_template"] == "{{ value_json." + name + " }}"
        assert state[name] == text


def test_changes_are_told_at_once_and_what_stays_now_and_then(server, linked, monkeypatch):
    now = [1000.0]  # a clock of its own: however slow this machine is
    monkeypatch.setattr(link_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    listener = server.listen()
    link = linked(MqttOptions("127.0.0.1", server.port))
    assert until(lambda: link.connected)
    for answer in (CAT, CAT, CAT, DOG, UNSURE, Answer("dog", 0.9, "never seen"), Answer(None, 0.0, "nothing learned")):
        link.publish(answer, jpeg(1))
    assert listener.wait(lambda: len(states(listener)) == 5)
    told = [(each["class"], each["unsure"], each["never_seen"], each["nearest"]) for each in states(listener)]
    assert told == [
        ("cat", "OFF", "OFF", "cat"),
        ("dog", "OFF", "OFF", "dog"),
        (None, "ON", "OFF", "dog"),
        (None, "OFF", "ON", "dog"),
        (None, "OFF", "OFF", None),
    ]
    assert listener.of(PICTURE) == [jpeg(1)]  # not one each change
    now[0] += link_module.STATE_SECONDS
    link.publish(Answer(None, 0.5, "nothing learned"), jpeg(2))
    assert listener.wait(lambda: len(states(listener)) == 6)
    assert len(listener.of(PICTURE)) == 1
    now[0] += link_module.LEAST_PICTURE_SECONDS
    link.publish(CAT, jpeg(3))
    assert listener.wait(lambda: listener.of(PICTURE) == [jpeg(1), jpeg(3)])


def test_the_button_is_heard_and_an_old_press_is_not(server, linked):
    server.send(LEARN, "learn", "-r")
    pressed = threading.Semaphore(0)
    link = linked(MqttOptions("127.0.0.1", server.port), pressed.release)
    assert until(lambda: link.connected)
    server.send(LEARN, "something else")
    assert not pressed.acquire(timeout=0.3)
    server.send(LEARN, "learn")
    assert pressed.acquire(timeout=10)
    assert not pressed.acquire(timeout=0.2)


def test_everything_is_told_again_when_home_assistant_starts_and_after_learning(server, linked):
    link = linked(MqttOptions("127.0.0.1", server.port))
    assert until(lambda: link.connected)
    link.publish(CAT, jpeg(1))
    listener = server.listen()
    assert listener.wait(lambda: listener.of(STATE))
    for tell in (lambda: server.send("homeassistant/status", "online"), link.refresh):
        listener.heard.clear()
        tell()
        assert listener.wait(lambda: all(listener.of(topic) for topic in (INTRODUCTION, STATE, PICTURE)))


def test_a_broker_that_was_away_is_found_again_and_told_the_newest(server, linked):
    link = linked(MqttOptions("127.0.0.1", server.port))
    assert until(lambda: link.connected)
    server.stop()
    assert until(lambda: not link.connected)
    for _ in range(1000):
        link.publish(DOG, jpeg(2))
    assert until(lambda: f"127.0.0.1:{server.port}" in link.message and "Connection refused" in link.message)
    server.start()
    listener = server.listen()
    assert listener.wait(lambda: states(listener) and states(listener)[-1]["class"] == "dog")
    assert link.connected
    assert len(listener.of(STATE)) < 10


def test_a_board_that_dies_is_offline_and_one_that_ends_too(server, linked):
    listener = server.listen(topic=AVAILABILITY)
    link = linked(MqttOptions("127.0.0.1", server.port))
    assert listener.wait(lambda: listener.of(AVAILABILITY) == [b"online"])
    link._client.socket().shutdown(2)  # as a power cut looks to the broker
    # Each once or more: what the broker has not confirmed is sent again after the connection is back.
    turns = [b"online", b"offline", b"online"]
    assert listener.wait(lambda: [each for each, _ in groupby(listener.of(AVAILABILITY))] == turns)
    link.close()
    assert listener.wait(lambda: listener.of(AVAILABILITY)[-1] == b"offline")


def test_pictures_stay_at_home_when_they_are_not_wanted(server, linked):
    listener = server.listen()
    link = linked(MqttOptions("127.0.0.1", server.port, pictures=False))
    assert until(lambda: link.connected)
    link.publish(CAT, jpeg(1))
    assert listener.wait(lambda: listener.of(STATE))
    link.refresh()
    assert listener.wait(lambda: len(listener.of(STATE)) == 2)
    assert not listener.of(PICTURE)
    assert "picture" not in json.loads(listener.of(INTRODUCTION)[0])["components"]


def test_a_password_is_needed_and_a_wrong_one_is_said(tmp_path, linked):
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "board", "secret"], check=True)
    with broker(tmp_path, "allow_anonymous false", f"password_file {passwords}") as server:
        right = linked(MqttOptions("127.0.0.1", server.port, "board", "secret"))
        assert until(lambda: right.connected)
        wrong = linked(MqttOptions("127.0.0.1", server.port, "board", "guess"))
        assert until(lambda: "refuses the connection" in wrong.message)
        assert "check user and password" in wrong.message
        assert not wrong.connected


def certificate(folder):
    """A certificate of 127.0.0.1 that is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


def test_a_broker_must_prove_who_it_is(tmp_path, linked):
    cert, key = certificate(tmp_path)
    with broker(tmp_path, "allow_anonymous true", f"certfile {cert}", f"keyfile {key}") as server:
        trusting = linked(MqttOptions("127.0.0.1", server.port, tls=True, authority=cert))
        assert until(lambda: trusting.connected), trusting.message
        careful = linked(MqttOptions("127.0.0.1", server.port, tls=True))
        assert until(lambda: "not trusted" in careful.message), careful.message
        assert "--mqtt-ca" in careful.message
        assert not careful.connected


def test_a_host_that_does_not_answer_blocks_nobody(linked):
    began = time.monotonic()
    link = linked(MqttOptions("127.0.0.1", free_port()))
    for _ in range(100):
        link.publish(CAT, jpeg(1))
    link.refresh()
    assert until(lambda: "no connection to 127.0.0.1" in link.message)
    link.close()
    assert time.monotonic() - began < 12


def test_a_file_without_a_certificate_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UsageError, match="holds no certificate"):
        MqttLink(MqttOptions("127.0.0.1", 1, tls=True, authority=tmp_path / "ca.pem"), "Küche", lambda: None)


def test_without_paho_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
    with pytest.raises(UsageError, match=r"pip install 'lightcl-edge\[mqtt\]'"):
        MqttLink(MqttOptions("127.0.0.1"), "Küche", lambda: None)
