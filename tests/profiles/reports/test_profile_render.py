"""Terminal and HTML are drawn from the record, complete, escaped, and refer to nothing outside."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree  # our own pictures, not somebody's file

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_samples import MIB, tag

from lightcl_profiler.records.record import Report
from lightcl_profiler.records.summary import COLUMNS
from lightcl_profiler.reports.charts import Bar, Curve, bar_chart, overlay_chart
from lightcl_profiler.reports.plot import NARROW, WIDE, nice_step, thin
from lightcl_profiler.reports.profile import FIGURE_TABLES, render_profile, usable_memory
from lightcl_profiler.reports.text import headline, render_text

VOID = {"meta"}


class _Balance(HTMLParser):
    """Raises when tags do not nest; collects attributes that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetching: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kinds = ("src", "href", "srcset", "action", "data")
        self.fetching += [name for name, value in attrs if name in kinds and not (value or "").startswith("#")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag("meta", attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_refers_to_nothing(report: Report) -> None:
    page = render_profile(report)
    balance = _Balance()
    balance.feed(page)
    assert balance.open == []
    assert balance.fetching == []
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img", page)


def test_text_from_outside_is_escaped(report: Report) -> None:
    page = render_profile(report)
    for raw in ("<script>", "cat<b>", "<rev 4>", "the <product>", "photos & more/"):
        assert raw not in page
    for escaped in ("net&lt;script&gt;", "cat&lt;b&gt;", "the &lt;product&gt;", "photos &amp; more/"):
        assert escaped in page


def test_every_figure_is_in_both_renderings(report: Report) -> None:
    page, text = render_profile(report).replace("\u00a0", " "), render_text(report)
    for shown in (
        "100.0 MiB",
        "520.0 MiB",
        "45.0 MiB",
        "90.0 MiB",
        "60.0 MiB",
        "30.0 MiB",
        "50.0 ms",
        "3.1 s",
    ):
        assert shown in page
        assert shown in text
    assert "100.0 MiB to 104.0 MiB" in page
    assert "unavailable" in page
    assert "SIGKILL" in page
    assert "SIGKILL" in text


def test_each_table_of_figures_says_what_it_holds_and_where_it_is_from(report: Report) -> None:
    page = render_profile(report)
    figures = page[page.index("<h2>All figures") : page.index("<h2>Memory over time")]
    assert re.findall("<h3>(.*?)</h3>", figures) == ["Memory of the process", "Time and disk"]
    assert figures.count("<h3>") == figures.count("<table")
    heads = re.findall("<th>(.*?)</th>", figures)
    assert all(head == "method" or head.endswith(tag("measured")) for head in heads)
    body = "".join(re.findall("<tbody>(.*?)</tbody>", page, re.DOTALL))
    assert 'class="tag' not in body  # once above the column, not in every cell
    labels = re.findall('::before{content:"(.*?)"}', figures)
    assert labels and all(label.endswith(", measured") for label in labels)
    assert not re.search(r"\d (KiB|MiB|GiB|s|ms|%)\b", "".join(re.findall("<tbody>(.*?)</tbody>", figures, re.DOTALL)))


def test_every_figure_has_a_table() -> None:
    assert sorted(" ".join(FIGURE_TABLES.values()).split()) == sorted(name for name, *_ in COLUMNS)


def test_headline_names_least_and_most(report: Report) -> None:
    assert headline(report) == "lightcl peaked at 100.0 MiB, sgd at 520.0 MiB: 5.2 times as much."


def test_a_report_without_a_completed_run(report: Report) -> None:
    empty = replace(report, runs=[], summary=[])
    assert "No method completed." in render_profile(empty)
    assert "FAILED er" in render_text(empty)


def test_figures_the_kernel_does_not_tell(report: Report) -> None:
    figures = dict(report.summary[0].figures)
    del figures["pss_peak_bytes"]
    told = replace(report, summary=[replace(report.summary[0], figures=figures)])
    assert re.search(r"peak PSS\s+unavailable", render_text(told))


def test_bars_are_to_scale() -> None:
    root = ElementTree.fromstring(bar_chart([Bar("a & b", 100, 50), Bar("c", 200, 0, 0.5)], [], 408))  # noqa: S314
    widths = [float(rect.get("width", "")) for rect in root.iter("rect")]
    assert widths == [200.0, 100.0, 400.0, 0.0]
    shown = [element.text or "" for element in root.iter("text")]
    assert "a & b" in shown and "200 B, 50.0% right" in shown


def test_lines_of_boards_are_where_the_bars_would_end() -> None:
    boards = [("small", 150), ("large", 240), ("out of sight", 300)]
    root = ElementTree.fromstring(bar_chart([Bar("a", 200, 0)], boards, 248))  # noqa: S314
    lines = [path.get("d", "")[1:].split(",")[0] for path in root.iter("path")]
    assert lines == ["150", "240"]
    assert [element.text for element in root.iter("text")][:2] == ["small", "large"]


def test_boards_have_more_memory_one_after_the_other() -> None:
    sizes = [size for _, size in usable_memory()]
    assert len(sizes) == 3 and sizes == sorted(sizes) and sizes[0] < 512 * MIB < sizes[1] < 1024 * MIB < sizes[2]


def test_an_owner_reads_of_accuracy_and_what_was_left_out_and_not_of_the_paper(report: Report) -> None:
    runs = [replace(run, holdout_accuracy=0.9) if run.method == "lightcl" else run for run in report.runs]
    page = render_profile(replace(report, runs=runs, left_out=["sgd: needs <torch>"]))
    assert "90.0% right" in page and "Left out: sgd: needs &lt;torch&gt;" in page
    assert "the paper" not in page.lower()
    assert page.count('class="line') <= len(report.summary)  # each timeline once


def _curve(marks: list[tuple[str, float]]) -> Curve:
    return Curve("lightcl", 1, [(0.0, 0), (1.0, 100 * MIB), (2.0, 50 * MIB)], marks, 2.0)


def _places(path: str) -> list[tuple[float, float]]:
    """The points of a path with relative steps."""
    start, *steps = [tuple(map(float, pair.split(","))) for pair in path[1:].replace("l", " ").split()]
    places = [start]
    for x, y in steps:
        places.append((places[-1][0] + x, places[-1][1] + y))
    return places


def test_timeline_goes_through_its_points() -> None:
    root = ElementTree.fromstring(overlay_chart([_curve([("import", 0.0), ("train", 1.0)])], WIDE))  # noqa: S314
    paths = [(e.get("class", ""), e.get("d", "")) for e in root.iter("path")]
    (line,) = (path for kind, path in paths if kind.startswith("line"))
    points = _places(line)
    assert [x for x, _ in points] == pytest.approx([48.0, 498.0, 948.0])
    (_, bottom), (_, peak), (_, middle) = points
    assert abs((bottom - middle) - (bottom - peak) / 2) < 0.2
    assert [path for kind, path in paths if kind.startswith("boundary")] == ["M48,26V262M498,26V262"]


def test_a_narrow_picture_shows_the_curves_of_the_wide_one() -> None:
    curves = [_curve([])]
    wide, narrow = (ElementTree.fromstring(overlay_chart(curves, width)) for width in (WIDE, NARROW))  # noqa: S314
    (shapes,), (shown,) = wide.iter("g"), narrow.iter("use")
    assert shown.get("href") == f"#{shapes.get('id')}"
    scale, _, _, same, moved, _ = map(float, shown.get("transform", "")[len("matrix(") : -1].split())
    assert [48 * scale + moved, 948 * scale + moved] == pytest.approx([48, NARROW - 12], abs=0.1)
    assert same == 1
    assert not [path for path in narrow.iter("path") if "line" in path.get("class", "")]


@given(st.lists(st.integers(0, 9), min_size=101, max_size=1200))
def test_a_thinned_line_keeps_its_ends_and_its_extremes(heights: list[int]) -> None:
    points = [(round(48 + 900 * i / len(heights), 1), float(y)) for i, y in enumerate(heights)]
    thinned = thin(points)
    assert len(thinned) <= 150
    assert [thinned[0], thinned[-1]] == [points[0], points[-1]]
    assert set(thinned) <= set(points) and [x for x, _ in thinned] == sorted(x for x, _ in thinned)
    assert {max(heights), min(heights)} <= {y for _, y in thinned}


def test_axis_steps_are_round() -> None:
    assert [nice_step(span, 5) for span in (5, 9, 24, 600)] == [1.0, 2.0, 5.0, 200.0]


def test_templates_are_loaded_only_to_render() -> None:
    modules = "lightcl_profiler.command, lightcl_profiler.measuring.session, lightcl_profiler.measuring.child"
    code = f"import sys, {modules}; print(*{{'jinja2', 'markupsafe'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
