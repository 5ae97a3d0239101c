"""The workload every method is given, and the whole command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_bundles import make_bundle, make_images

from lightcl_edge.console.program import run_program
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError, UsageError
from lightcl_profiler.command import ProfileCommand
from lightcl_profiler.measuring.workload import choose, make_workload, split_classes
from lightcl_profiler.methods import METHODS, default_methods, parse_methods
from lightcl_profiler.records.record import Report


def test_two_tasks_from_four_classes_on() -> None:
    assert split_classes(["a", "b", "c"]) == [["a", "b", "c"]]
    assert split_classes(["a", "b", "c", "d", "e"]) == [["a", "b", "c"], ["d", "e"]]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 3))
def test_the_choice_is_even_bounded_and_repeats(labels: list[int], limit: int, seed: int) -> None:
    array = np.array(labels)
    chosen = choose(array, limit, seed)
    assert (np.diff(chosen) > 0).all()
    assert set(array[chosen]) == set(labels)
    assert len(chosen) <= max(limit, len(set(labels)))
    assert np.array_equal(chosen, choose(array, limit, seed))
    if limit >= len(labels):
        assert len(chosen) == len(labels)


def test_folders_are_linked_and_unreadable_files_left_out(tmp_path: Path) -> None:
    data = make_images(tmp_path / "data", ["c", "d", "e", "f g"])
    (data / "c" / "bad.png").write_text("no image")
    workload = make_workload(str(data), tmp_path / "work", None, seed=0)
    assert workload.tasks == [["c", "d"], ["e", "f g"]]
    assert (workload.images, workload.skipped_images) == (16, 1)
    first = open_dataset(str(workload.folders[0]))
    assert len(first) == 8
    assert all(Path(first.name(i)).is_symlink() for i in range(8))
    assert np.array_equal(first.image(0), open_dataset(str(data)).image(0))


def test_arrays_become_lossless_files(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.array(["../up", ".hidden", "b"] * 2))
    workload = make_workload(f"{tmp_path}/d.npz", tmp_path / "work", 3, seed=0)
    assert workload.images == 3
    assert workload.tasks == [["../up", ".hidden", "b"]]
    found = open_dataset(str(workload.folders[0]))
    assert all(any(np.array_equal(found.image(i), original) for original in x) for i in range(3))


def test_a_class_without_a_readable_image_is_named(tmp_path: Path) -> None:
    data = make_images(tmp_path / "data", ["a"])
    (data / "b").mkdir()
    (data / "b" / "bad.png").write_text("no image")
    with pytest.raises(DataError, match=r"class 'b' of .* has no readable image"):
        make_workload(str(data), tmp_path / "work", None, seed=0)


def test_unknown_methods_are_named_with_all_known_ones() -> None:
    with pytest.raises(
        UsageError,
        match="found method 'magic' in --methods, expected one or more of: slda, replay, lightcl, joint, sgd",
    ):
        parse_methods("lightcl,magic")
    with pytest.raises(UsageError, match="found no method in --methods"):
        parse_methods(" , ")
    assert parse_methods("sgd, lightcl,sgd") == ["sgd", "lightcl"]


def _profile(tmp_path: Path, *extra: str, methods: str = "toy") -> tuple[int, Path]:
    bundle = make_bundle(tmp_path, whole=None)
    data = make_images(tmp_path / "data", ["a", "b"])
    out = tmp_path / "out"
    arguments = ["profile", "--bundle", str(bundle), "--data", str(data), "--out", str(out), "--methods", methods]
    return run_program("lightcl-edge", "test", [ProfileCommand()], [*arguments, *extra]), out


@pytest.mark.usefixtures("toy_path")
def test_the_command_writes_both_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METHODS, "toy", "profile_toys:Allocating")
    code, out = _profile(tmp_path, "--runs", "2", "--threads", "1", "--json")
    assert code == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "report.json").read_text())
    report = Report.from_document(document)
    assert [(run.method, run.run) for run in report.runs] == [("toy", 1), ("toy", 2)]
    assert report.summary[0].title == "a toy that allocates"
    assert "--threads 1 --engine auto --seed 0" in report.command
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]


@pytest.mark.usefixtures("toy_path")
def test_a_killed_method_is_reported_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METHODS, "toy", "profile_toys:Allocating")
    monkeypatch.setitem(METHODS, "big", "profile_toys:Killed")
    code, out = _profile(tmp_path, "--runs", "2", methods="big,toy")
    assert code == 5
    assert "FAILED big, run 1: method 'big' in phase 'train' was killed by SIGKILL" in capsys.readouterr().out
    report = Report.from_document(json.loads((out / "report.json").read_text()))
    assert [run.method for run in report.runs] == ["toy", "toy"]
    assert len(report.failures) == 1


def test_out_must_not_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("")
    code, _ = _profile(tmp_path, methods="sgd")
    assert code == 2
    assert "is a file, expected a folder" in capsys.readouterr().err


@pytest.mark.usefixtures("toy_path")
@pytest.mark.parametrize(
    ("missing", "code", "message"), [("torch", 8, "needs torch"), ("lightcl_models", 3, "is not installed")]
)
def test_a_method_that_lacks_a_package_is_refused_before_the_first_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.setitem(METHODS, "toy", "profile_toys:Allocating")
    monkeypatch.setitem(sys.modules, missing, None)
    found, out = _profile(tmp_path, methods="toy,sgd")
    said = capsys.readouterr().err
    assert (found, message in said) == (code, True)
    assert "toy, run" not in said
    assert not list(out.iterdir())


def test_the_default_methods_are_those_that_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    chosen, left_out = default_methods(make_bundle(tmp_path, whole=None))
    assert chosen == ["slda", "replay"]
    assert len(left_out) == 1 and left_out[0].startswith("sgd: method sgd needs torch")
