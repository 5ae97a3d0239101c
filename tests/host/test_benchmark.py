"""The benchmark: figures against matrices worked out by hand, and a whole run on a tiny bundle."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from lightcl_edge.console import Progress
from lightcl_edge.errors import DataError, LightclError, UsageError
from lightcl_host.benchmark import runner as runner_module
from lightcl_host.benchmark.data import BenchmarkData, DataOptions
from lightcl_host.benchmark.methods import METHODS, make_method, parse_methods
from lightcl_host.benchmark.metrics import forward_transfer, measure, transfers
from lightcl_host.benchmark.report import render, summarise
from lightcl_host.benchmark.runner import BenchmarkOptions, run_benchmark
from lightcl_host.cli import main
from lightcl_host.sources import SourceOptions
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


@pytest.fixture
def options(tmp_path):
    data = make_folder(tmp_path / "data", NAMES, count=20)
    return BenchmarkOptions(
        source=SourceOptions("tiny"),
        bundle=make_bundle(tmp_path / "bundle"),
        cut="auto",
        trunk_dtype="auto",
        data=DataOptions(str(data), tasks=2, images_per_class=10),
        methods=["joint", "auto", "slda", "ncm", "lightcl", "finetune"],
        seeds=[0, 1],
        buffer_bytes=4000,
        epochs=None,
        batch_size=8,
        learning_rate=None,
        threads=1,
        engine="ort",
        out=tmp_path / "out",
    )


def test_all_methods_run_and_what_is_done_is_not_done_again(options, monkeypatch):
    records = run_benchmark(options, Progress(quiet=True))
    assert [(r["method"], r["seed"]) for r in records] == [(m, s) for m in options.methods for s in (0, 1)]
    entries = {entry["method"]: entry for entry in summarise(records)}
    assert entries["joint"]["forgetting"] is None and entries["joint"]["below_joint"] == 0
    for name in ("auto", "slda", "ncm"):
        assert entries[name]["class_incremental"]["mean"] > 0.7, entries[name]
        assert set(entries[name]["per_class"]) == set(NAMES)
        assert len(entries[name]["class_incremental_matrix"]) == 2
    assert entries["auto"]["settings"]["strategy"] == "replay"
    assert all(record["settings"]["buffer_bytes"] <= 4000 for record in records)
    assert entries["slda"]["class_incremental"]["deviation"] >= 0

    def never(name):
        raise AssertionError(f"{name} was run again")

    monkeypatch.setattr(runner_module, "make_method", never)
    again = run_benchmark(options, Progress(quiet=True))
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(records))
    with pytest.raises(AssertionError, match="slda was run again"):
        run_benchmark(replace(options, methods=["slda"], buffer_bytes=8000), Progress(quiet=True))


def test_features_are_extracted_once_and_an_interrupted_extraction_goes_on(options, monkeypatch):
    from lightcl_edge.trunk import Trunk
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
        run_benchmark(few, Progress(quiet=True))
    lost = seen[-1]
    run_benchmark(few, Progress(quiet=True))
    assert sum(seen) - lost == 40 + 16, "each of 40 training and 16 test images once"


def test_the_command_prints_tables_and_json(options, tmp_path):
    def run(*more):
        out = io.StringIO()
        arguments = ["benchmark", "--model", "efficientnet_lite0", "--bundle", str(options.bundle)]
        arguments += ["--data", options.data.data, "--tasks", "2", "--out", str(tmp_path / "o"), "--batch-size", "8"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = main([*arguments, *more])
        return code, out.getvalue()

    code, text = run("--methods", "slda,ncm", "--seeds", "0,1", "--validation")
    assert code == 0 and all(words in text for words in ("slda", "ncm", "class-incr.", "validation images", "grey"))
    code, text = run("--methods", "slda,ncm", "--seeds", "0,1", "--validation", "--json")
    document = json.loads(text)
    assert render(document) and document["setting"]["seeds"] == [0, 1]
    assert json.loads((tmp_path / "o" / "benchmark.json").read_text()) == document
    for wrong in (("--methods", "magic"), ("--seeds", "x"), ("--tasks", "9"), ("--learning-rate", "0")):
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


def test_mistakes(options, tmp_path):
    assert parse_methods("slda, ncm,slda") == ["slda", "ncm"]
    for text in ("", "slda,magic"):
        with pytest.raises(UsageError, match="expected one or more of: joint"):
            parse_methods(text)
    assert all(make_method(name).title for name in METHODS if METHODS[name].startswith("lightcl_host.benchmark.device"))
    other = make_folder(tmp_path / "other", ["red", "green"])
    with pytest.raises(DataError, match="expected the same"):
        BenchmarkData(replace(options.data, test_data=str(other)))
    small = make_bundle(tmp_path / "small")
    many = make_folder(tmp_path / "many", NAMES)
    for index in range(4):
        (many / f"x{index}").mkdir()
        (many / f"x{index}" / "a.png").write_bytes((many / "red" / "0.png").read_bytes())
    with pytest.raises(LightclError, match="room for 6 classes, the data have 8"):
        run_benchmark(replace(options, bundle=small, data=DataOptions(str(many))), Progress(quiet=True))
