"""The benchmark: figures against matrices worked out by hand, and a whole run on a tiny bundle."""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import DataError, LightclError, UsageError
from lightcl_host.benchmark.calculated import calculate, count_bundle
from lightcl_host.benchmark.data import BenchmarkData
from lightcl_host.benchmark.feature_cache import FeatureCache
from lightcl_host.benchmark.methods import METHODS
from lightcl_host.benchmark.metrics import forward_transfer, measure, transfers, unknown_auroc
from lightcl_host.benchmark.options import BenchmarkOptions, DataOptions
from lightcl_host.benchmark.processes import RunJob, run_all
from lightcl_host.benchmark.report import render, summarise
from lightcl_host.benchmark.runner import run_benchmark
from lightcl_host.benchmark.single_run import run_single
from lightcl_host.cli import main
from lightcl_host.sources.options import SourceOptions
from lightcl_profiler.methods import parse_methods
from lightcl_profiler.paper.memory import NetworkCount
from small_bundle import make_bundle, make_folder

NAMES = ["blue", "green", "grey", "red"]


def test_figures_of_a_matrix_by_hand():
    """Three tasks; every number below was worked out on paper."""
    matrix = [[0.9, 0.4, 0.5], [0.6, 0.8, 0.7], [0.7, 0.5, 1.0]]
    forgetting, backward = transfers(matrix)
    assert forgetting == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert backward == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    assert forward_transfer(matrix, [0.5, 0.5, 0.5]) == pytest.approx(((0.4 - 0.5) + (0.7 - 0.5)) / 2)
    assert transfers([[0.9]]) == (None, None) and forward_transfer([[0.9]], [0.5]) is None


def test_accuracies_from_scores_by_hand():
    """Classes 0 and 1 are task 0, 2 and 3 task 1."""
    labels = np.array([0, 0, 1, 2, 3])
    scores = np.array([[9, 1, 0, 0], [1, 2, 5, 0], [0, 3, 4, 0], [0, 8, 7, 1], [0, 0, 2, 5]], np.float32)
    first = measure(scores, labels, [(0, 1), (2, 3)], 1)
    assert first.class_incremental == pytest.approx([2 / 3, 0.0]) and first.task_incremental == [2 / 3, 1.0]
    both = measure(scores, labels, [(0, 1), (2, 3)], 2)
    assert both.class_incremental == pytest.approx([1 / 3, 1 / 2]) and both.per_class == [0.5, 0.0, 0.0, 1.0]
    with pytest.raises(UsageError, match="not numbers"):
        measure(np.full((1, 4), np.nan, np.float32), np.array([0]), [(0, 1), (2, 3)], 2)


def test_certainty_counts_the_classes_seen_so_far():
    labels = np.array([0, 1, 1, 2])
    scores = np.log(np.array([[0.9, 0.1, 5.0], [0.4, 0.6, 5.0], [0.7, 0.3, 5.0], [0.5, 0.5, 5.0]], np.float32))
    found = measure(scores, labels, [(0, 1), (2,)], 1)  # right, right, wrong, not seen
    assert found.expected_calibration_error == pytest.approx((0.1 + 0.4 + 0.7) / 3, abs=1e-6)
    assert found.error_auroc == pytest.approx(0.5)  # 0.9 is surer than 0.7, 0.6 is not
    strange = np.array([1.0, 2.0, 3.0, 2.5])
    assert unknown_auroc(strange, labels, [0, 1]) == pytest.approx(2 / 3)
    assert unknown_auroc(None, labels, [0, 1]) is None and unknown_auroc(strange, labels, [0, 1, 2]) is None


@pytest.fixture
def options(tmp_path):
    data = make_folder(tmp_path / "data", NAMES, count=20)
    return BenchmarkOptions(
        source=SourceOptions("tiny"),
        bundle=make_bundle(tmp_path / "bundle"),
        cut="auto",
        trunk_dtype="auto",
        data=DataOptions(str(data), tasks=2, images_per_class=10),
        methods=["joint", "auto", "slda", "ncm", "lightcl"],
        seeds=[0, 1],
        buffer_bytes=4000,
        epochs=None,
        batch_size=8,
        learning_rate=None,
        threads=1,
        engine="ort",
        out=tmp_path / "out",
    )


def here(job, note):
    """Run in this process: faster where processes are not the point."""
    return run_single(job.options, job.bundle, job.method, job.seed, note)


def launcher(run):
    return SimpleNamespace(run=run, stop=lambda: None)


def benchmark(options, run=here):
    place = None if run is None else launcher(run)
    return run_benchmark(options, Bundle.open(options.bundle), Progress(quiet=True), place)


def test_all_methods_run_and_what_is_done_is_not_done_again(options):
    records = benchmark(options)
    assert [(r["method"], r["seed"]) for r in records] == [(m, s) for m in options.methods for s in (0, 1)]
    entries = {entry["method"]: entry for entry in summarise(records)}
    assert entries["joint"]["forgetting"] is None and entries["joint"]["below_joint"] == 0
    for name in ("auto", "slda", "ncm"):
        assert entries[name]["class_incremental"]["mean"] > 0.7, entries[name]
        assert set(entries[name]["per_class"]) == set(NAMES)
        assert len(entries[name]["class_incremental_matrix"]) == 2
        assert 0 <= entries[name]["expected_calibration_error"]["mean"] <= 1
    assert entries["auto"]["settings"]["strategy"] == "slda"
    assert all(record["settings"]["buffer_bytes"] <= 4000 for record in records)
    assert entries["slda"]["class_incremental"]["deviation"] >= 0

    def never(job, note):
        raise AssertionError(f"{job.method} was run again")

    again = benchmark(options, never)
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(records))
    with pytest.raises(AssertionError, match="slda was run again"):
        benchmark(replace(options, methods=["slda"], buffer_bytes=8000), never)


def test_runs_in_processes_of_their_own_say_the_same_and_how_much_memory_they_took(options):
    few = replace(options, methods=["slda", "finetune"], seeds=[0], jobs=2)
    alone = benchmark(replace(few, out=few.out / "alone"))
    apart = benchmark(few, None)
    for one, other in zip(alone, apart, strict=True):
        assert one["class_incremental_matrix"] == other["class_incremental_matrix"]
        assert other["peak_rss_bytes"] > 20_000_000 and other["peak_rss_bytes"] >= max(r for _, r in other["timeline"])
    assert not (few.out / "scratch").exists()


def test_a_mistake_in_a_process_is_told_and_ends_the_others(options):
    bad = replace(options, torch_device="cuda", methods=["sgd"], seeds=[0])
    with pytest.raises(LightclError, match=r"method 'sgd' with seed 0: .*--torch-device cpu"):
        benchmark(bad, None)
    broken = RunJob(replace(options, seeds=[]), options.bundle, "finetune", "x")
    with pytest.raises(LightclError, match=r"ended with exit status 1 and no result; last output: .*Error"):
        list(run_all([broken], 1, print))


def test_calculated_figures_are_those_of_the_work_that_was_done(options):
    net = NetworkCount(4000, 400, 3600, 80, 16, 32, 10, 4)
    record = {"method": "er", "settings": {"epochs": 2}, "task_images": [6, 3], "per_class": dict.fromkeys(NAMES)}
    bundle, held = Bundle.open(options.bundle), 4000 // (16 * 16 * 3 + 4)
    found = calculate(options, bundle, net, record)
    assert found["calculated_memory_bytes"] == 2 * 4000 + (8 + held) * 80
    assert found["calculated_operations"] == 2 * 3 * 10 * 18 * (8 + held) // 8
    slda = {**record, "method": "slda", "settings": {"strategy": "slda"}}
    assert calculate(options, bundle, net, slda)["calculated_operations"] == 2 * 10 * 9
    assert set(calculate(options, bundle, "no network", record).values()) == {None}
    assert "export it --with-baselines" in str(count_bundle(replace(options, methods=["slda"]), bundle, 4))


def test_jobs_run_side_by_side_and_one_failure_cancels_what_waits(options):
    import threading

    both, started = threading.Barrier(2, timeout=20), []

    def launch(job, note):
        started.append(job.seed)
        if job.seed < 2:
            both.wait()
            raise UsageError("no")
        return {}

    jobs = [RunJob(options, options.bundle, "slda", seed) for seed in range(40)]
    with pytest.raises(UsageError):
        list(run_all(jobs, 2, lambda text: None, launcher(launch)))
    assert {0, 1} <= set(started) and len(started) < 40


def test_features_are_extracted_once_and_an_interrupted_extraction_goes_on(options, monkeypatch):
    from lightcl_edge.inference.trunk import Trunk
    from lightcl_host.benchmark import feature_cache

    seen = []
    original = Trunk.features_of_pixels

    def counted(self, images):
        seen.append(len(images))
        if sum(seen) > 24 and not counted.cut:
            counted.cut = True
            raise KeyboardInterrupt
        return original(self, images)

    counted.cut = False
    monkeypatch.setattr(Trunk, "features_of_pixels", counted)
    monkeypatch.setattr(feature_cache, "_SAVED_EVERY", 8)
    few = replace(options, methods=["ncm", "slda"], seeds=[0])
    with pytest.raises(KeyboardInterrupt):
        benchmark(few)
    lost = seen[-1]
    benchmark(few)
    assert sum(seen) - lost == 40 + 16, "each of 40 training and 16 test images once"


def test_features_stored_on_another_scale_are_not_taken_up(options, tmp_path):
    bundle, data = Bundle.open(options.bundle), BenchmarkData(options.data)

    def features():
        return FeatureCache(tmp_path / "f", bundle, data.datasets, None, Progress(quiet=True)).of(data.test()).copy()

    first, feature = features(), bundle.manifest.feature
    wider = replace(feature, scale=[2 * scale for scale in feature.scale])
    bundle.manifest = replace(bundle.manifest, feature=wider)
    assert np.ptp(features().astype(int)) < np.ptp(first.astype(int)), "the same trunk, twice the scale"


def test_the_command_prints_tables_and_json(options, tmp_path):
    def run(*more):
        out = io.StringIO()
        arguments = ["benchmark", "--model", "efficientnet_lite0", "--bundle", str(options.bundle)]
        arguments += ["--data", options.data.data, "--tasks", "2", "--out", str(tmp_path / "o"), "--batch-size", "8"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = main([*arguments, *more])
        return code, out.getvalue()

    code, text = run("--methods", "slda,ncm", "--seeds", "1", "--validation", "--jobs", "2")
    assert code == 0 and all(words in text for words in ("slda", "ncm", "class-incr.", "validation images", "grey"))
    assert "calibration error" in text and "never seen, AUROC" in text
    assert "peak of the process, measured" in text and "lightcl-edge train on" in text and "not calculated: " in text
    code, text = run("--methods", "slda,ncm", "--seeds", "1", "--validation", "--json")
    document = json.loads(text)
    assert render(document) and document["setting"]["seeds"] == [1]
    assert json.loads((tmp_path / "o" / "benchmark.json").read_text()) == document
    assert all(entry["measured_peak_bytes"] > 30_000_000 for entry in document["methods"])
    assert "--validation" in document["command"] and document["machine"]["cores"]
    page = (tmp_path / "o" / "report.html").read_text()
    assert "<th>peak of the process" in page and "Accuracy after each task" in page
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img", page)
    assert main(["report", "--benchmark", str(tmp_path / "o/benchmark.json"), "--out", str(tmp_path / "p.html")]) == 0
    assert (tmp_path / "p.html").read_text() == page
    assert main(["report", "--out", str(tmp_path / "p.html")]) == 2
    for wrong in (("--methods", "magic"), ("--jobs", "0"), ("--tasks", "9"), ("--learning-rate", "0")):
        assert run(*wrong)[0] == 2


def test_parts_do_not_share_images(options):
    for validation in (False, True):
        data = BenchmarkData(replace(options.data, validation=validation, images_per_class=None))
        learned = np.concatenate([task.images.positions for task in data.tasks(0)])
        assert not set(learned) & set(data.test().positions) and len(learned) + len(data.test()) == 80
        assert [task.classes for task in data.tasks(0)] == [(0, 1), (2, 3)]
        assert sorted(data.everything(0).images.positions) == sorted(learned)
    one, two = (BenchmarkData(options.data).tasks(seed)[0].images.positions.tolist() for seed in (0, 1))
    assert one != two and len(one) == 20


def test_baselines_learn_the_whole_network_with_torch():
    assert METHODS["sgd"].learner == "sgd" and not METHODS["sgd"].on_device


def test_mistakes(options, tmp_path):
    assert parse_methods("slda, ncm,slda", METHODS) == ["slda", "ncm"]
    for text in ("", "slda,magic"):
        with pytest.raises(UsageError, match="expected one or more of: joint"):
            parse_methods(text, METHODS)
    assert all(entry.title for entry in METHODS.values())
    other = make_folder(tmp_path / "other", ["red", "green"])
    with pytest.raises(DataError, match="expected the same"):
        BenchmarkData(replace(options.data, test_data=str(other)))
    small = make_bundle(tmp_path / "small")
    many = make_folder(tmp_path / "many", NAMES)
    for index in range(4):
        (many / f"x{index}").mkdir()
        (many / f"x{index}" / "a.png").write_bytes((many / "red" / "0.png").read_bytes())
    with pytest.raises(LightclError, match="room for 6 classes, the data have 8"):
        benchmark(replace(options, bundle=small, data=DataOptions(str(many))))
