"""From a camera to Home Assistant: taught from live frames, learned by the button, told when it changes, labelled."""

import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from lightcl_edge.serve.mqtt.options import MqttOptions
from lightcl_edge.serve.sources.opening import open_source
from mqtt_broker import broker
from served import BASE, served
from small_video import make_video

pytestmark = pytest.mark.skipif(
    not all(shutil.which(each, path="/usr/sbin:/usr/bin:/bin") for each in ("ffmpeg", "mosquitto", "mosquitto_sub")),
    reason="ffmpeg or mosquitto is not installed",
)
#: Two seconds of red, two of green, again and again.
SCENE = "geq=r='200*lt(mod(T,4),2)':g='200*gte(mod(T,4),2)':b='20':a='255',noise=alls=30:allf=t"


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def colour_of(jpeg):
    red, green, _ = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).mean((0, 1))
    return "red" if red > green else "green"


def teach_what_is_seen(client, each=6):
    """Teach live frames under their colours."""
    taught, number = {"red": 0, "green": 0}, 0
    while min(taught.values()) < each:
        answer = client.get(f"{BASE}/frames/latest", params={"after": number})
        number = int(answer.headers["x-frame"])
        name = colour_of(answer.content)
        if taught[name] < each:
            posted = client.post(f"{BASE}/teach", params={"class_name": name}, content=answer.content)
            assert posted.status_code == 201, posted.text
            taught[name] += 1


def test_a_camera_is_taught_learned_by_the_button_and_labelled(bundle, tmp_path):
    video = make_video(tmp_path / "room.avi", seconds=4, rate=10, size="64x48", name="color", filters=SCENE)
    with broker(tmp_path, "allow_anonymous true") as home:
        options = {"mqtt": MqttOptions("127.0.0.1", home.port), "board_name": "door"}
        listener = home.listen()
        with served(
            bundle, tmp_path / "state", source=open_source(str(video)), keep_waiting=tmp_path / "kept", **options
        ) as client:
            teach_what_is_seen(client)
            assert until(lambda: client.get(f"{BASE}/status").json()["mqtt"]["connected"])
            home.send("lightcl/lightcl_door/learn", "learn")
            assert until(lambda: client.get(f"{BASE}/status").json()["generation"] == 1)
            heard = lambda word: any(word in each for each in listener.of("lightcl/lightcl_door/state"))  # noqa: E731
            assert until(lambda: heard(b'"class": "red"') and heard(b'"class": "green"'))
            assert listener.of("lightcl/lightcl_door/picture")
            found = until(lambda: client.get(f"{BASE}/queue").json()["pictures"])
            assert found, "a change of the picture is worth a label"
            wish = {"ids": [found[0]["id"]], "class_name": "red"}
            assert client.post(f"{BASE}/queue/label", json=wish).json() == {"pictures": 1}
            assert client.get(f"{BASE}/taught").json()["classes"] == {"red": 1}
            assert client.get(f"{BASE}/queue/{found[0]['id']}").status_code == 404
        assert listener.wait(lambda: listener.of("lightcl/lightcl_door/availability")[-1] == b"offline")
