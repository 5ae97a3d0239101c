"""What a run may take: the machine's free memory, the control group's limit, the budget; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data import decoding, specification
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import plan_for, planned_patterns
from lightcl_edge.machine import limits, memory
from lightcl_edge.planning.plan import GENERATION_COPIES, Carried, Plan, covariance_bytes, stored_statistics_bytes
from small_bundle import make_folder

MIB = 2**20


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A control group as the kernel shows it."""

    def make(**files):
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        limit = int(files.get("memory__limit_in_bytes", files.get("memory__max", "0")))
        monkeypatch.setattr(limits, "_group_limits", lambda: ("v1", [(tmp_path, limit)]))
        monkeypatch.setattr(memory, "kib_fields", lambda path: {"RssAnon": 10 * MIB})

    return make


def test_others_in_the_group_count_with_what_they_hold(group):
    group(memory__limit_in_bytes=str(256 * MIB), memory__stat=f"cache 1\ntotal_rss {40 * MIB}\ntotal_shmem {MIB}\n")
    assert limits.cgroup_room_bytes() == (256 - 30 - 1) * MIB
    group(memory__max=str(100 * MIB), memory__stat=f"anon {12 * MIB}\nshmem 0\nfile {50 * MIB}\n")
    assert limits.cgroup_room_bytes() == 98 * MIB


def test_a_group_that_says_nothing_of_its_content_still_limits(group):
    group(memory__max=str(100 * MIB))
    assert limits.cgroup_room_bytes() == 100 * MIB


def test_without_a_limit_the_machine_decides(monkeypatch):
    monkeypatch.setattr(limits, "_group_limits", lambda: ("unavailable", []))
    assert limits.cgroup_room_bytes() is None
    assert limits.available_bytes() > 0


def test_a_budget_never_allows_more_than_there_is(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 144 * MIB)
    assert limits.allowed_bytes(None) == 144 * MIB
    assert limits.allowed_bytes(100 * MIB) == 100 * MIB
    assert limits.allowed_bytes(300 * MIB) == 144 * MIB
    assert limits.allowed_bytes(limits.UNCHECKED_BYTES) == limits.UNCHECKED_BYTES


def test_train_says_which_limit_refused(edge, bundle, tmp_path, monkeypatch):
    data = make_folder(tmp_path / "d", ["red", "green"])
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data)
    monkeypatch.setattr(limits, "available_bytes", lambda: 44 * MIB)
    out, err = edge(*words, "--memory-budget", "300MiB", "--json", code=5)
    assert "less a reserve of 16.0 MiB" in err and "stop other programs" in err
    error = json.loads(out)["error"]
    assert error["plan"]["peak_bytes"] > error["allowed_bytes"] == 44 * MIB
    assert not (tmp_path / "s").exists()
    document = json.loads(edge(*words, "--memory-budget", "none", "--json")[0])
    assert document["allowed_bytes"] == limits.UNCHECKED_BYTES


def test_predict_and_evaluate_refuse_before_they_start(edge, bundle, tmp_path, monkeypatch):
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "s"
    edge("train", "--bundle", bundle, "--state", state, "--data", data)
    words = ("predict", "--state", state, data / "red" / "0.png", "--json")
    document = json.loads(edge(*words)[0])
    assert 0 < document["plan"]["peak_bytes"] <= document["allowed_bytes"] and document["peak_rss_bytes"] > 0
    monkeypatch.setattr(limits, "available_bytes", lambda: 50 * MIB)
    out, err = edge(*words, code=5)
    assert "predicting needs" in err and json.loads(out)["error"]["allowed_bytes"] == 50 * MIB
    edge("evaluate", "--state", state, "--data", data, code=5)


def test_an_image_too_large_for_the_memory_left_is_not_decoded(edge, bundle, tmp_path, monkeypatch):
    data, state = make_folder(tmp_path / "d", ["red", "green"]), tmp_path / "s"
    Image.new("RGB", (3000, 2000), (200, 30, 30)).save(data / "red" / "large.png")
    Image.new("RGB", (3000, 2000), (200, 30, 30)).save(data / "red" / "photo.jpg")
    monkeypatch.setattr(decoding, "MAX_PIXELS_PER_BYTE", 10**6)  # plain colour: honest here
    train = ("train", "--bundle", bundle, "--state", state, "--data", data, "--json", "--memory-budget", "none")
    unpatched = decoding.spare_bytes
    monkeypatch.setattr(decoding, "spare_bytes", lambda limit: 0)
    document = json.loads(edge(*train)[0])
    assert document["skipped_images"] == 1 and "45.8 MiB of memory to decode" in document["skipped"][0]
    monkeypatch.setattr(decoding, "spare_bytes", unpatched)
    edge("predict", "--state", state, data / "red" / "large.png")


def test_a_progressive_jpeg_is_counted_in_full(tmp_path):
    for progressive, expected in ((False, 8 * 500 * 250), (True, 8 * 500 * 250 + 6 * 4000 * 2000)):
        Image.new("RGB", (4000, 2000)).save(tmp_path / "p.jpg", progressive=progressive)
        image = Image.open(tmp_path / "p.jpg")
        image.draft("RGB", (128, 128))
        assert decoding.decoding_bytes(image) == expected


def test_turned_photos_stand_upright(tmp_path):
    """The image is turned in place; what comes out is as it was seen."""
    from lightcl_edge.data.decoding import load_image
    from small_bundle import INPUT

    picture = Image.new("RGB", (64, 64), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what is on top belongs on the right
    picture.save(tmp_path / "turned.png", exif=exif)
    pixels = load_image(tmp_path / "turned.png", INPUT)
    assert pixels[8, -1].tolist() == [255, 255, 255] and pixels[8, 0].tolist() == [0, 0, 0]


def test_what_is_left_counts_pages_that_can_be_taken_back(monkeypatch):
    own = memory.sample(with_pss=False)
    monkeypatch.setattr(limits, "cgroup_room_bytes", lambda: own.anonymous_bytes + 30 * MIB)
    assert 10 * MIB < limits.spare_bytes() < 15 * MIB + 2**20  # less the reserve of 16 MiB, whatever its libraries take


def test_arrays_larger_than_what_is_left_are_not_read(edge, bundle, tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100, 128, 128, 3), np.uint8), y=np.arange(100) % 2)
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", tmp_path / "a.npz", "--json")
    monkeypatch.setattr(specification, "spare_bytes", lambda: 4 * MIB)
    out, err = edge(*words, code=5)
    assert "unpacks to 4.7 MiB, but only 4.0 MiB of memory are left; use a folder" in err
    assert json.loads(out)["error"]["plan"]["peak_bytes"] > json.loads(out)["error"]["allowed_bytes"]


def test_a_large_image_keeps_to_the_budget(edge, bundle, tmp_path):
    """A PNG can't be reduced while it is read: what does not fit beside the process is left out, not decoded."""
    data = make_folder(tmp_path / "d", ["red", "green"])
    pixels = np.random.default_rng(0).integers(0, 9, (4000, 4000, 1)).astype(np.uint8)  # worth its bytes
    Image.fromarray(np.repeat(pixels, 3, axis=2)).save(data / "red" / "large.png", compress_level=1)
    words = ("train", "--bundle", bundle, "--data", data, "--json")
    own = memory.sample(with_pss=False).rss_bytes
    out, _ = edge(*words, "--state", tmp_path / "tight", "--memory-budget", str(own + 100 * MIB))
    document = json.loads(out)
    assert document["skipped_images"] == 1 and "large.png" in document["skipped"][0]
    out, _ = edge(*words, "--state", tmp_path / "wide")
    assert json.loads(out)["skipped_images"] == 0


def test_a_plan_counts_what_the_state_carries():
    plan = Plan(*[10 * MIB] * 7)
    found = Carried(generation_bytes=5 * MIB, buffer_bytes=3 * MIB, bundle_bytes=MIB).added_to(plan)
    assert found.extract_bytes == found.train_bytes == 10 * MIB + int(GENERATION_COPIES * 5 * MIB)
    assert found.gate_bytes == found.train_bytes + 6 * MIB and found.disk_bytes == 19 * MIB
    assert Carried().added_to(plan) == plan


def test_only_discriminant_analysis_plans_a_covariance(bundle):
    manifest = Bundle.open(bundle).manifest
    wide = replace(manifest, head=replace(manifest.head, penultimate_size=4000))
    plans = {name: plan_for(name, wide, "ort", 32, 0, 10) for name in ("slda", "replay", "ncm", "lightcl", "finetune")}
    covariance = covariance_bytes(wide)
    assert plans["slda"].train_bytes - plans["ncm"].train_bytes == covariance
    assert plans["replay"].train_bytes == max(plans["lightcl"].train_bytes, plans["slda"].train_bytes)
    assert plans["slda"].disk_bytes - plans["ncm"].disk_bytes == stored_statistics_bytes(wide), (
        "what is kept, not what is used"
    )


def test_patterns_are_planned_where_a_strategy_holds_them(bundle):
    manifest = Bundle.open(bundle).manifest
    settings = replace(manifest.defaults, beta=0.0, buffer_samples=7, batch_size=32)
    held = {name: planned_patterns(name, settings) for name in STRATEGIES}
    assert held == dict.fromkeys(STRATEGIES, 0) | {"lightcl": 7}
    assert planned_patterns("replay", replace(settings, beta=0.1)) == 7
    assert planned_patterns("finetune", replace(settings, beta=0.1)) == 0
    assert planned_patterns("lightcl", replace(settings, batch_size=4)) == 4, "those of the first batch"


def test_the_plan_of_a_training_counts_the_patterns_it_holds(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"])
    manifest = Bundle.open(bundle).manifest
    planned = {}
    for samples in (0, 3, 9):
        words = ("train", "--bundle", bundle, "--state", tmp_path / f"s{samples}", "--data", data, "--json")
        how = ("--strategy", "lightcl", "--engine", "torch", "--batch-size", "5", "--pattern-samples", str(samples))
        planned[samples] = json.loads(edge(*words, *how)[0])["plan"]["train_bytes"]
        expected = plan_for("lightcl", manifest, "torch", 5, min(samples, 5), 0)
        assert planned[samples] == expected.train_bytes
    assert planned[0] < planned[3] < planned[9]
