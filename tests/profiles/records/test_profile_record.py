"""Records to JSON and back, summaries, timelines."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_samples import MIB, make_run

from lightcl_edge.errors import DataError
from lightcl_edge.machine.process_memory import MemorySample
from lightcl_profiler.measuring.joining import join_tasks
from lightcl_profiler.measuring.timeline import Timeline
from lightcl_profiler.records.record import Report
from lightcl_profiler.records.summary import summarise, typical_run


def test_a_report_survives_json(report: Report) -> None:
    document = json.loads(json.dumps(report.to_document(), allow_nan=False))
    assert Report.from_document(document) == report


def test_what_the_contract_asks_for_is_there(report: Report) -> None:
    document = report.to_document()
    assert {"runs", "machine", "command", "summary"} <= set(document)
    run = document["runs"][0]
    assert {"method", "run", "peak_rss_bytes", "import_rss_bytes", "phases", "seconds_per_image"} <= set(run)
    assert {"pss_peak_bytes", "anonymous_bytes", "file_bytes", "swap_bytes", "timeline", "loss"} <= set(run)


def test_a_newer_report_still_reads(report: Report) -> None:
    document = json.loads(json.dumps(report.to_document()))
    document["runs"][0]["joules"] = 3
    assert Report.from_document(document) == report


def test_a_missing_key_and_a_wrong_type_are_named(report: Report) -> None:
    document = json.loads(json.dumps(report.to_document()))
    document["runs"][1]["peak_rss_bytes"] = "much"
    with pytest.raises(DataError, match=r"report.runs\[1\].peak_rss_bytes is 'much', expected a value of type int"):
        Report.from_document(document)
    del document["runs"][1]["peak_rss_bytes"]
    with pytest.raises(DataError, match=r"report.runs\[1\] lacks 'peak_rss_bytes'"):
        Report.from_document(document)
    with pytest.raises(DataError, match=r"report.runs is 3, expected a list"):
        Report.from_document({**document, "runs": 3})


def test_summary_takes_medians_and_spread() -> None:
    runs = [make_run("a", i, peak) for i, peak in enumerate([300, 100, 200, 250])]
    (summary,) = summarise(runs, {"a": "A"})
    peaks = summary.figures["peak_rss_bytes"]
    assert (peaks.median, peaks.minimum, peaks.maximum) == (200 * MIB, 100 * MIB, 300 * MIB)
    assert summary.runs == 4
    assert typical_run(runs, "a").peak_rss_bytes == 200 * MIB


def test_what_the_kernel_does_not_tell_is_left_out() -> None:
    (summary,) = summarise([make_run("a", 1, 100, pss=None)], {})
    assert "pss_peak_bytes" not in summary.figures
    (some,) = summarise([make_run("a", 1, 100, pss=None), make_run("a", 2, 100, pss=7)], {})
    assert some.figures["pss_peak_bytes"].median == 7


def _sample(rss: int | None) -> MemorySample:
    return MemorySample(rss, None, rss, 0, 0, rss)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=300), st.integers(2, 20))
def test_a_thinned_timeline_is_bounded_ordered_and_keeps_the_peak(values: list[int], limit: int) -> None:
    timeline = Timeline(limit)
    for at, rss in enumerate(values):
        timeline.add(float(at), _sample(rss))
    points = timeline.points
    assert len(points) <= limit + 1
    assert [t for t, _, _ in points] == sorted({t for t, _, _ in points})
    assert max(rss for _, rss, _ in points) == max(values)
    assert timeline.pss_peak_bytes == timeline.anonymous_bytes == max(values)
    assert all(values[int(t)] == rss for t, rss, _ in points)


def test_a_process_that_has_ended_leaves_no_point() -> None:
    timeline = Timeline()
    timeline.add(0.0, replace(_sample(1), rss_bytes=None))
    assert timeline.points == []
    assert timeline.anonymous_bytes is None


def test_tasks_in_processes_of_their_own_become_one_run() -> None:
    first, second = make_run("a", 1, 300), replace(make_run("a", 1, 200), images=10, seconds_per_image=0.1, loss=0.1)
    whole = join_tasks([first, second])
    assert whole.peak_rss_bytes == 300 * MIB
    assert [phase.name for phase in whole.phases] == ["import 1", "train 1", "import 2", "train 2"]
    assert [phase.start_seconds for phase in whole.phases] == [0.1, 0.6, 2.8, 3.3]
    assert whole.timeline[3][0] == 2.7
    assert (whole.images, whole.wall_seconds, whole.loss) == (50, 5.4, 0.1)
    assert whole.seconds_per_image == pytest.approx((40 * 0.05 + 10 * 0.1) / 50)
    assert join_tasks([first]) == first
