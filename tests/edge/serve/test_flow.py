"""From an empty state to a new answer, as the page does it."""

from __future__ import annotations

import time

import pytest

from served import BASE, learned, picture, served, teach


@pytest.fixture
def client(bundle, tmp_path):
    with served(bundle, tmp_path / "state") as found:
        yield found


def test_an_empty_state_says_so_everywhere(client):
    status = client.get(f"{BASE}/status").json()
    assert (status["generation"], status["classes"], status["capacity"]) == (0, [], 6)
    assert client.get(f"{BASE}/classes").json()["classes"] == []
    assert client.get(f"{BASE}/evaluation").text == ""
    assert client.get(f"{BASE}/history").json()["generations"] == []
    assert (
        "nothing was learned yet" in client.post(f"{BASE}/predict", content=picture("red")).json()["error"]["message"]
    )
    answer = client.post(f"{BASE}/learn", json={})
    assert answer.status_code == 409 and "nothing to learn yet" in answer.json()["error"]["message"]


def test_what_is_taught_is_learned_and_answers_change_without_a_restart(client):
    teach(client, "red")
    teach(client, "green")
    assert client.get(f"{BASE}/taught").json()["classes"] == {"green": 8, "red": 8}
    plan = client.get(f"{BASE}/learn/plan").json()
    assert plan["new_classes"] == ["green", "red"] and 0 < plan["peak_bytes"] < plan["allowed_bytes"]
    outcome = learned(client)
    assert outcome["kind"] == "learned" and outcome["generation"] == 1 and outcome["peak_bytes"] > 2**20
    assert (
        client.post(f"{BASE}/predict", content=picture("red", 99)).json()["predictions"][0]["top"][0]["class_name"]
        == "red"
    )
    client.post(f"{BASE}/frames", content=picture("green", 98))
    until = time.monotonic() + 10
    while (live := client.get(f"{BASE}/status").json()["live"]) is None:
        assert time.monotonic() < until
    assert live["answer"]["class_name"] == "green" and live["prediction"]["generation"] == 1
    client.post(f"{BASE}/frames", content=picture("red", 97))
    while client.get(f"{BASE}/status").json()["live"]["answer"]["class_name"] != "red":
        assert time.monotonic() < until
    queue = client.get(f"{BASE}/queue").json()["pictures"]
    assert "near a change" not in [each["reason"] for each in queue], "a photo after another is no change"
    spool = client.service.taught.spool.folder
    assert not list(spool.rglob("*.jpg"))  # features stay, pictures do not
    knowledge = client.get(f"{BASE}/classes").json()
    assert [each["class_name"] for each in knowledge["classes"]] == ["green", "red"]
    assert sum(map(sum, knowledge["confusion"])) == sum(each["held_out"] for each in knowledge["classes"]) > 0
    part = client.get(f"{BASE}/evaluation").text
    assert "2 of 2 images are right" in part and "Pictures are not kept" in part and "<h3>Mistakes" in part


def test_pictures_that_were_taught_before_are_told(client):
    for classes in (["red", "green"], ["red"]):
        for name in classes:
            teach(client, name)
        outcome = learned(client)
    assert any("taught before and count twice" in each for each in outcome["warnings"])


def test_mistakes_are_shown_where_pictures_are_kept(client):
    teach(client, "red")
    teach(client, "green")
    assert learned(client)["kind"] == "learned"
    for generation, taught, shows in [(1, "red", "green"), (1, "green", "green"), (2, "gone", "red")]:
        kept = client.service.taught.spool.folder / ".learned" / f"{generation:06d}" / taught / f"{generation}.jpg"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(picture(shows, 77))
    part = client.get(f"{BASE}/evaluation").text
    assert "<b>red</b> taken for green" in part and part.count('<img src="data:image/jpeg') == 1
    assert "1 of the newest 2 pictures that it was taught" in part


def test_classes_are_renamed_taken_back_and_erased(client):
    for colour in ("red", "green", "blue"):
        teach(client, colour, 6)
    assert learned(client)["kind"] == "learned"
    renamed = client.post(f"{BASE}/classes/rename", json={"class_name": "red", "to": "our red"}).json()
    assert renamed == {"generation": 2, "classes": ["blue", "green", "our red"]}
    assert client.get(f"{BASE}/status").json()["learning"]["outcome"] is None, "it spoke of a class red"
    assert (
        client.post(f"{BASE}/predict", content=picture("red", 9)).json()["predictions"][0]["top"][0]["class_name"]
        == "our red"
    )
    assert client.post(f"{BASE}/rollback", json={"to": 1}).json()["classes"] == ["blue", "green", "red"]
    teach(client, "blue", 1)
    assert client.post(f"{BASE}/forget", json={"class_name": "blue"}).json()["classes"] == ["green", "red"]
    assert client.get(f"{BASE}/taught").json()["pictures"] == []
    names = [
        each["class_name"]
        for each in client.post(f"{BASE}/predict", content=picture("blue")).json()["predictions"][0]["top"]
    ]
    assert "blue" not in names
    generations = client.get(f"{BASE}/history").json()["generations"]
    assert sum(each["in_use"] for each in generations) == 1 and generations[-1]["number"] == 0
    answer = client.post(f"{BASE}/forget", json={"class_name": "blue"})
    assert answer.status_code == 409 and "no class 'blue'" in answer.json()["error"]["message"]


def test_labels_are_changed_and_pictures_removed_before_they_are_learned(client):
    teach(client, "red", 3)
    first, second, third = (each["id"] for each in client.get(f"{BASE}/taught").json()["pictures"])
    assert client.post(f"{BASE}/taught/relabel", json={"ids": [first, "0"], "class_name": "green"}).json() == {
        "pictures": 1
    }
    assert client.post(f"{BASE}/taught/drop", json={"ids": [second]}).json() == {"pictures": 1}
    assert client.get(f"{BASE}/taught").json()["classes"] == {"green": 1, "red": 1}
    assert client.get(f"{BASE}/taught/{third}").headers["content-type"] == "image/jpeg"
    assert client.get(f"{BASE}/taught/{second}").status_code == 404


def test_a_full_disk_is_said_and_ends_nothing(client, monkeypatch):
    from lightcl_edge.serve.teaching import taught

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(taught, "write_durably", full)
        answer = client.post(f"{BASE}/teach", params={"class_name": "red"}, content=picture("red"))
    assert answer.status_code == 507 and "free some space" in answer.json()["error"]["message"]
    teach(client, "red", 1)
