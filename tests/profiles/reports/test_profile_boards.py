"""Reports of several boards with a benchmark, as one page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from profile_samples import MIB, cells, make_run, tag

from lightcl_edge.errors import DataError
from lightcl_host.cli import main
from lightcl_profiler.records.accuracy import read_benchmark
from lightcl_profiler.records.comparing import board_names
from lightcl_profiler.records.record import Report, SmallestLimit, Trial
from lightcl_profiler.records.summary import summarise
from lightcl_profiler.reports.boards import render_boards
from lightcl_profiler.reports.charts import Series, memory_chart
from lightcl_profiler.reports.plot import Box
from lightcl_profiler.reports.profile import render_profile
from lightcl_profiler.reports.text import render_text

MATRIX = [[0.9, 0.0], [0.2, 0.8]]


def write_benchmark(path: Path) -> Path:
    spread = {"mean": 0.5, "deviation": 0.02}
    entry = {"seeds": [0, 1], "class_incremental": spread, "task_incremental": spread, "forgetting": {"mean": 0.7}}
    methods = [
        {**entry, "method": "lightcl", "class_incremental_matrix": MATRIX},
        {**entry, "method": "sgd", "class_incremental_matrix": MATRIX},
        {**entry, "method": "joint_torch", "class_incremental_matrix": [[0.6, 0.6]]},
    ]
    setting = {"model": "net", "tasks": 2, "data": "d", "training_images": 8, "test_images": 4, "seeds": [0, 1]}
    path.write_text(json.dumps({"methods": methods, "setting": setting}))
    return path


def test_accuracies_of_a_benchmark(tmp_path: Path) -> None:
    run = read_benchmark(write_benchmark(tmp_path / "b.json"))
    assert set(run.by_method) == {"lightcl", "sgd", "joint"}
    assert run.by_method["sgd"].after_each_task == pytest.approx([0.9, 0.5])
    assert run.by_method["joint"].after_each_task == [0.5]
    assert "8 training and 4 test images, seeds 0, 1" in run.description
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(DataError, match=r"c.json lacks 'methods'; expected benchmark.json of lightcl-host benchmark"):
        read_benchmark(tmp_path / "c.json")


def test_two_boards_on_one_page(report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [replace(run, calculated_bytes=153 * MIB) if run.method == "sgd" else run for run in report.runs]
    first = replace(report, runs=runs)
    pi = replace(report.machine, board="Raspberry Pi 4 <8>")
    other_runs = [make_run("lightcl", 1, 130)]
    second = replace(report, machine=pi, runs=other_runs, summary=summarise(other_runs, {}))
    for name, each in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(each.to_document()))
    out, bench = tmp_path / "page.html", write_benchmark(tmp_path / "b.json")
    code = main(
        ["report", str(tmp_path / "a"), str(tmp_path / "b/report.json"), "--benchmark", str(bench), "--out", str(out)]
    )
    assert code == 0
    assert "130.0 MiB" in capsys.readouterr().out
    page = out.read_text().replace("\u00a0", " ")
    cards = cells(page)
    for label, figure in (
        ("the paper's memory, published", "153.4 MiB"),
        ("its formula on this network, calculated", "153.0 MiB"),
        ("peak, Cortex-A53 <rev 4>, measured", "520.0 MiB"),
        ("the paper's, all classes, published", "34.21 %"),
        ("accuracy, all classes, measured", "50.0 %"),
    ):
        assert any(cell.startswith(figure) for cell in cards[label]), label
    for shown in (
        "<th>the paper&#39;s memory" + tag("published"),
        "<th>its formula on this network" + tag("calculated"),
        "<th>peak, Raspberry Pi 4 &lt;8&gt;" + tag("measured"),
        "On Raspberry Pi 4 &lt;8&gt;: lightcl peaked at 130.0 MiB.",
        "dotted: a phase starts",
        "An empty cell: the paper has no such figure",
        "Raspberry Pi 4 &lt;8&gt;",
        "not run",
        "Accuracy after each task",
    ):
        assert shown in page, shown
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img|<8>", page)


def test_reports_of_two_networks_do_not_mix(report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(report, work=replace(report.work, model="another"))
    for name, each in (("a", report), ("b", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(each.to_document()))
    code = main(["report", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(tmp_path / "p.html")])
    assert code == 4
    assert "expected one network in all of them" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none"), "--out", str(tmp_path / "p.html")]) == 4
    said = capsys.readouterr().err
    expected = "expected report.json of lightcl-edge profile, or the folder it is in"
    assert said == f"error: no report at {tmp_path / 'none'}; {expected}\n"
    assert main(["report", "--benchmark", str(tmp_path / "none"), "--out", str(tmp_path / "p.html")]) == 4
    said = capsys.readouterr().err
    assert "can't be read: there is no such file; expected benchmark.json" in said
    assert "Errno" not in said


def test_profiles_of_one_kind_of_board_are_told_apart(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = replace(report.work, image_side=64, epochs=9, tasks=[["cat<b>", "dog"]])
    runs = [[replace(run, calculated_bytes=mib * MIB) for run in report.runs] for mib in (153, 154)]
    for name, each in (("one", replace(report, runs=runs[0])), ("two", replace(report, work=work, runs=runs[1]))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(each.to_document()))
    out = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "one"), str(tmp_path / "two/report.json"), "--out", str(out)]) == 0
    assert "Cortex-A53 <rev 4>, one" in capsys.readouterr().out
    page = out.read_text().replace("\u00a0", " ")
    for name in ("Cortex-A53 &lt;rev 4&gt;, one", "Cortex-A53 &lt;rev 4&gt;, two"):
        for shown in (f"<th>peak, {name}", f"<th>its formula, {name}", f"<h2>All figures, {name}</h2>", f"On {name}: "):
            assert shown in page, shown
    assert "its formula on this network" not in page
    assert "The profiles are not of the same work" in page
    board = "Cortex-A53 &lt;rev 4&gt;"
    assert f"<li>epochs: 2 ({board}, one); 9 ({board}, two)</li>" in page
    assert f"<li>image size: not recorded ({board}, one); 64 pixels ({board}, two)</li>" in page
    assert f"<li>classes: 4 ({board}, one); 2 ({board}, two)</li>" in page


def test_names_are_no_longer_than_they_must_be(report: Report) -> None:
    same = [report, report]
    assert board_names([report], [Path("x")]) == ["Cortex-A53 <rev 4>"]
    assert board_names(same, [Path("/a/x"), Path("/b/x")]) == ["Cortex-A53 <rev 4>, a/x", "Cortex-A53 <rev 4>, b/x"]
    assert board_names(same, [Path("/a/x"), Path("/a/x")]) == ["Cortex-A53 <rev 4>, x (1)", "Cortex-A53 <rev 4>, x (2)"]


def test_equal_work_needs_no_warning(report: Report) -> None:
    assert "not of the same work" not in render_boards([report, report], None, ["one", "two"])


def test_limits_are_shown_or_explained(report: Report) -> None:
    trials = [Trial(256 * MIB, True, None, 2.0), Trial(130 * MIB, False, "killed", 1.0)]
    limits = [SmallestLimit("lightcl", 140 * MIB, trials), SmallestLimit("sgd", None, [], "no <cgroup>")]
    limited = replace(report, limits=limits)
    page, text = render_profile(limited), render_text(limited)
    page = page.replace("\u00a0", " ")
    assert "140.0 MiB" in cells(page)["smallest limit it completes under, measured"]
    assert "256.0 MiB yes, 130.0 MiB no" in page
    assert "no &lt;cgroup&gt;" in page
    assert "no <cgroup>" in text
    assert Report.from_document(json.loads(json.dumps(limited.to_document()))) == limited


def test_labels_of_near_points_do_not_meet() -> None:
    series = [Series(f"method{i}", i, [0.5], 600 * MIB) for i in range(6)]
    picture = memory_chart(series, 960)
    places = [(float(x), float(y)) for x, y in re.findall(r'x="([\d.]+)" y="([\d.]+)" class="value"', picture)]
    boxes = [Box(x, y - 10, x + 6 * len("method0"), y + 2) for x, y in places]
    assert len(boxes) == 6
    assert not any(one.meets(other) for one, other in combinations(boxes, 2))


def test_the_page_without_a_benchmark(report: Report) -> None:
    page = render_boards([report], None, ["one"])
    assert "Accuracy" not in page
    assert "The machine and the command" in page
