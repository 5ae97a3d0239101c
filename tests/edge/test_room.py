"""What a run may take: the machine's free memory, the control group's limit, the budget; and what is refused."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from lightcl_edge import image_file, machine, planner
from small_bundle import make_folder

MIB = 2**20


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A control group as the kernel shows it."""

    def make(**files):
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        limit = int(files.get("memory__limit_in_bytes", files.get("memory__max", "0")))
        monkeypatch.setattr(machine, "_group_limits", lambda: ("v1", [(tmp_path, limit)]))
        monkeypatch.setattr(machine, "_kib_field", lambda path, name: 10 * MIB)

    return make


def test_others_in_the_group_count_with_what_they_hold(group):
    group(memory__limit_in_bytes=str(256 * MIB), memory__stat=f"cache 1\ntotal_rss {40 * MIB}\ntotal_shmem {MIB}\n")
    assert machine.cgroup_room_bytes() == (256 - 30 - 1) * MIB
    group(memory__max=str(100 * MIB), memory__stat=f"anon {12 * MIB}\nshmem 0\nfile {50 * MIB}\n")
    assert machine.cgroup_room_bytes() == 98 * MIB


def test_a_group_that_says_nothing_of_its_content_still_limits(group):
    group(memory__max=str(100 * MIB))
    assert machine.cgroup_room_bytes() == 100 * MIB


def test_without_a_limit_the_machine_decides(monkeypatch):
    monkeypatch.setattr(machine, "_group_limits", lambda: ("unavailable", []))
    assert machine.cgroup_room_bytes() is None
    assert planner.available_bytes() > 0


def test_a_budget_never_allows_more_than_there_is(monkeypatch):
    monkeypatch.setattr(planner, "available_bytes", lambda: 144 * MIB)
    assert planner.allowed_bytes(None) == 144 * MIB
    assert planner.allowed_bytes(100 * MIB) == 100 * MIB
    assert planner.allowed_bytes(300 * MIB) == 144 * MIB
    assert planner.allowed_bytes(planner.UNCHECKED_BYTES) == planner.UNCHECKED_BYTES


def test_train_says_which_limit_refused(edge, bundle, tmp_path, monkeypatch):
    data = make_folder(tmp_path / "d", ["red", "green"])
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data)
    monkeypatch.setattr(planner, "available_bytes", lambda: 44 * MIB)
    out, err = edge(*words, "--memory-budget", "300MiB", "--json", code=5)
    assert "less a reserve of 16.0 MiB" in err and "stop other programs" in err
    error = json.loads(out)["error"]
    assert error["plan"]["peak_bytes"] > error["allowed_bytes"] == 44 * MIB
    assert not (tmp_path / "s").exists()
    document = json.loads(edge(*words, "--memory-budget", "none", "--json")[0])
    assert document["allowed_bytes"] == planner.UNCHECKED_BYTES


def test_predict_and_evaluate_refuse_before_they_start(edge, bundle, tmp_path, monkeypatch):
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "s"
    edge("train", "--bundle", bundle, "--state", state, "--data", data)
    words = ("predict", "--state", state, data / "red" / "0.png", "--json")
    document = json.loads(edge(*words)[0])
    assert 0 < document["plan"]["peak_bytes"] <= document["allowed_bytes"] and document["peak_rss_bytes"] > 0
    monkeypatch.setattr(planner, "available_bytes", lambda: 50 * MIB)
    out, err = edge(*words, code=5)
    assert "predicting needs" in err and json.loads(out)["error"]["allowed_bytes"] == 50 * MIB
    edge("evaluate", "--state", state, "--data", data, code=5)


def test_an_image_too_large_for_the_memory_left_is_not_decoded(edge, bundle, tmp_path, monkeypatch):
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "s"
    Image.new("RGB", (3000, 2000), (200, 30, 30)).save(data / "red" / "large.png")
    Image.new("RGB", (3000, 2000), (200, 30, 30)).save(data / "red" / "photo.jpg")
    monkeypatch.setattr(image_file, "MAX_PIXELS_PER_BYTE", 10**6)  # plain colour: honest here
    train = ("train", "--bundle", bundle, "--state", state, "--data", data, "--json", "--memory-budget", "none")
    decoding = planner.spare_bytes
    monkeypatch.setattr(planner, "spare_bytes", lambda: 0)
    document = json.loads(edge(*train)[0])
    assert document["skipped_images"] == 1 and "45.8 MiB of memory to decode" in document["skipped"][0]
    monkeypatch.setattr(planner, "spare_bytes", decoding)
    edge("predict", "--state", state, data / "red" / "large.png")


def test_a_progressive_jpeg_is_counted_in_full(tmp_path):
    for progressive, expected in ((False, 8 * 500 * 250), (True, 8 * 500 * 250 + 6 * 4000 * 2000)):
        Image.new("RGB", (4000, 2000)).save(tmp_path / "p.jpg", progressive=progressive)
        image = Image.open(tmp_path / "p.jpg")
        image.draft("RGB", (128, 128))
        assert image_file.decoding_bytes(image) == expected


def test_turned_photos_stand_upright(tmp_path):
    """The image is turned in place; what comes out is as it was seen."""
    from lightcl_edge.images import load_image
    from small_bundle import INPUT

    picture = Image.new("RGB", (64, 64), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what is on top belongs on the right
    picture.save(tmp_path / "turned.png", exif=exif)
    pixels = load_image(tmp_path / "turned.png", INPUT)
    assert pixels[8, -1].tolist() == [255, 255, 255] and pixels[8, 0].tolist() == [0, 0, 0]


def test_what_is_left_counts_pages_that_can_be_taken_back(monkeypatch):
    own = planner.memory.sample(with_pss=False)
    monkeypatch.setattr(planner, "cgroup_room_bytes", lambda: own.anonymous_bytes + 30 * MIB)
    assert (
        10 * MIB < planner.spare_bytes() < 15 * MIB + 2**20
    )  # less the reserve of 16 MiB, whatever its libraries take
