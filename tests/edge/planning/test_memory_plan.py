"""What a run may take: the machine's free memory, the control group's limit, the budget; and what is refused."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.manifest import TapInfo
from lightcl_edge.data import decoding, specification
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import crowd_of, plan_for, planned_patterns
from lightcl_edge.machine import memory_limits as limits
from lightcl_edge.machine import process_memory
from lightcl_edge.planning.plan import (
    GENERATION_COPIES,
    Carried,
    Plan,
    covariance_bytes,
    large_pieces_bytes,
    sums_bytes,
)
from small_bundle import make_folder, wide_bundle

MIB = 2**20


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
    own = process_memory.sample(with_pss=False).rss_bytes
    out, _ = edge(*words, "--state", tmp_path / "tight", "--memory-budget", str(own + 100 * MIB))
    document = json.loads(out)
    assert document["skipped_images"] == 1 and "large.png" in document["skipped"][0]
    out, _ = edge(*words, "--state", tmp_path / "wide")
    assert json.loads(out)["skipped_images"] == 0


@pytest.mark.parametrize(
    ("system", "release", "counted"),
    [
        ("Linux", "6.18.44-fc", True),
        ("Linux", "7.0", True),
        ("Linux", "6.12.47+rpt-rpi-v8", False),
        ("Linux", "odd", False),
        ("Darwin", "23.1.0", False),
    ],
)
def test_a_kernel_that_maps_large_pieces_of_libraries_is_planned_for(system, release, counted):
    assert bool(large_pieces_bytes(system, release)) == counted


def test_a_plan_counts_what_the_state_carries():
    plan = Plan(*[10 * MIB] * 7)
    found = Carried(generation_bytes=5 * MIB, buffer_bytes=3 * MIB, bundle_bytes=MIB).added_to(plan)
    assert found.extract_bytes == 10 * MIB  # a generation is read once images are features
    assert found.train_bytes == 10 * MIB + int(GENERATION_COPIES * 5 * MIB)
    assert found.gate_bytes == found.train_bytes + 6 * MIB and found.disk_bytes == 19 * MIB
    assert Carried().added_to(plan) == plan


def test_every_strategy_plans_the_sums_of_taps(bundle):
    manifest = Bundle.open(bundle).manifest
    wide = replace(manifest, head=replace(manifest.head, taps=[TapInfo("a", 4000)]))
    plans = {name: plan_for(name, wide, "ort", 32, 0, 10) for name in ("slda", "replay", "ncm", "lightcl", "finetune")}
    narrow = {name: plan_for(name, manifest, "ort", 32, 0, 10) for name in plans}
    for name, plan in plans.items():
        alone = name in ("slda", "ncm")  # these give the head back before the sums are solved
        assert plan.train_bytes == plans["slda" if alone else "replay"].train_bytes > covariance_bytes(wide)
        assert plan.train_bytes >= plans["slda"].train_bytes
        assert plan.disk_bytes - narrow[name].disk_bytes == sums_bytes(wide, 10) - sums_bytes(manifest, 10)
    assert narrow["replay"].train_bytes >= narrow["slda"].train_bytes == narrow["ncm"].train_bytes


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
        crowd = crowd_of([12, 12], 2, 0, 24)
        expected = plan_for("lightcl", manifest, "torch", 5, min(samples, 5), 0, crowd=crowd)
        assert planned[samples] == expected.train_bytes
    assert planned[0] < planned[3] < planned[9]


SHARES = {"slda": (True, False), "replay": (True, True), "lightcl": (False, True)}


@given(
    classes=st.integers(1, 2000),
    images=st.integers(1, 60),
    known=st.integers(0, 2000),
    strategy=st.sampled_from(sorted(SHARES)),
)
def test_the_plan_holds_every_array_of_classes_and_samples(classes, images, known, strategy):
    """Each array that a task makes with a number for each class and sample, at the moment when they meet."""
    size, penultimate = 512, 1280
    head = SimpleNamespace(tap_size=size, penultimate_size=penultimate)
    closed_form, trains = SHARES[strategy]
    crowd = crowd_of([images] * classes, known + classes, known, 100)
    plan = crowd.added_to(Plan(*[0] * 7), SimpleNamespace(head=head), closed_form=closed_form, trains=trains)
    own, earlier, total = classes * min(images, 10), known * 10, classes + known
    sums, taps = 2 * size * classes * images, 2 * size * (own + earlier)
    after, before = 4 * total * (own + earlier), 4 * known * (own + earlier)
    moments = [sums + taps + after + before, sums + taps + 3 * 8 * total * (size + total)]
    if trains:
        moments.append(sums + taps + before + after + 4 * total * own)  # and before the first step
    if strategy == "replay":
        moments.append(sums + taps + before + 4 * total * (classes * images + 100))
    if strategy == "lightcl":
        moments.append(sums + taps + 4 * penultimate * classes * images)
    assert plan.gate_bytes == plan.train_bytes >= max(moments)
    more = crowd_of([images] * (classes + 1), known + classes + 1, known, 100)
    larger = more.added_to(Plan(*[0] * 7), SimpleNamespace(head=head), closed_form=closed_form, trains=trains)
    assert larger.train_bytes > plan.train_bytes


@pytest.mark.parametrize("strategy", ["slda", "replay", "lightcl"])
def test_what_many_classes_take_is_planned(edge, tmp_path, monkeypatch, strategy):
    """What Python allocates for 300 classes beyond what as many images of two classes need is planned."""
    bundle, images = wide_bundle(tmp_path / "b", 400, monkeypatch), 6
    manifest, kind = Bundle.open(bundle).manifest, STRATEGIES[strategy]
    pixels = np.random.default_rng(0).integers(0, 256, (300 * images, 16, 16, 3)).astype(np.uint8)
    peaks, plans = [], []
    for classes in (2, 2, 300):  # the first run only warms up
        np.savez(tmp_path / "d.npz", x=pixels, y=np.arange(len(pixels)) % classes)
        words = ("--data", tmp_path / "d.npz", "--strategy", strategy, "--engine", "ort", "--epochs", 1, "--json")
        tracemalloc.start()
        out = edge("train", "--bundle", bundle, "--state", tmp_path / f"s{len(peaks)}", *words, "--max-forgetting", 1)[
            0
        ]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(json.loads(out)["classes"]) == classes
        crowd = crowd_of([len(pixels) // classes] * classes, classes, 0, len(pixels))
        plan = crowd.added_to(Plan(*[0] * 7), manifest, closed_form=kind.on_closed_form, trains=kind.trains_head)
        plans.append(plan.train_bytes)
    took, planned = peaks[2] - peaks[1], plans[2] - plans[1]
    assert took <= planned, f"{took / MIB:.1f} MiB, planned {planned / MIB:.1f}"


def test_too_many_classes_for_a_budget_are_refused_before_anything_is_done(edge, tmp_path, monkeypatch):
    bundle = wide_bundle(tmp_path / "b", 2000, monkeypatch)
    np.savez(tmp_path / "many.npz", x=np.zeros((4000, 4, 4, 3), np.uint8), y=np.repeat(np.arange(2000), 2))
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", tmp_path / "many.npz")
    own = process_memory.sample(with_pss=False).rss_bytes
    out = edge(*words, "--strategy", "slda", "--memory-budget", str(own + 60 * MIB), "--json", code=5)[0]
    assert json.loads(out)["error"]["plan"]["train_bytes"] > 60 * MIB and not (tmp_path / "s").exists()


def test_steps_are_quick_where_that_is_modest_and_allowed(edge, bundle, tmp_path):
    """In place where the process stays near 100 MB, in micro-batches where the budget allows less."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for graph in manifest["training_step"]:
        graph["peak_bytes"] = {"in_place": 20 * MIB, "accumulate": 2 * MIB}.get(graph["update"], graph["peak_bytes"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    data = make_folder(tmp_path / "d", ["red", "green"])
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--strategy", "replay")

    def plan(*more):
        return json.loads(edge(*words, "--dry-run", "--json", *more)[0])["plan"]

    quick = plan("--memory-budget", "none")
    frugal = plan("--memory-budget", f"{quick['peak_bytes'] - MIB}B")
    assert quick["quick_steps"] and not frugal["quick_steps"]
    assert quick["train_bytes"] - frugal["train_bytes"] == pytest.approx(1.6 * 18 * MIB, rel=0.05)
    trained = json.loads(edge(*words, "--json", "--memory-budget", f"{quick['peak_bytes'] - MIB}B")[0])
    assert trained["generation"] == 1 and not trained["plan"]["quick_steps"]
