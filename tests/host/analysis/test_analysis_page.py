"""The page of an analysis: names that can be read, and words that fit what is drawn."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from lightcl_host.analysis.charts import accuracy_chart
from lightcl_host.analysis.record import Analysis, CutRecord
from lightcl_host.analysis.render_html import render_html
from lightcl_host.analysis.render_text import render_text
from lightcl_profiler.reports.plot import Box

SAMPLE = Path(__file__).with_name("analysis_sample.json")
MIB = 2**20


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return Analysis.from_document(json.loads(SAMPLE.read_text()))


def with_heads(analysis: Analysis, heads: list[tuple[float, float]], front: int) -> Analysis:
    """The last cuts with accuracies at peaks in MiB, the first of them on the front."""
    untried = [replace(cut, head_accuracy=None, shortlisted=False, pareto=False) for cut in analysis.cuts]
    tried: list[CutRecord] = [
        replace(cut, head_accuracy=share, predicted_peak_bytes=int(peak * MIB), shortlisted=True, pareto=at < front)
        for at, (cut, (share, peak)) in enumerate(zip(untried[-len(heads) :], heads, strict=True))
    ]
    return replace(analysis, cuts=[*untried[: -len(heads)], *tried], chosen=tried[-1].name)


@pytest.mark.parametrize("width", [360, 960])
def test_names_of_near_heads_do_not_cover_each_other(analysis: Analysis, width: int) -> None:
    near = with_heads(analysis, [(0.50, 104.0), (0.501, 104.1), (0.502, 104.2), (0.49, 119.0), (0.5, 104.1)], 3)
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="value"[^>]*>([^<]+)<', accuracy_chart(near, width))
    assert len(found) == 5
    assert any(name.endswith(" (chosen)") for *_, name in found)
    boxes = [Box(float(x), float(y) - 9, float(x) + 6 * len(name), float(y) + 2) for x, y, name in found]
    assert not any(one.meets(other) for one, other in combinations(boxes, 2))
    assert all(box.left >= 44 and box.right <= width for box in boxes)


def test_a_line_and_bars_are_named_where_they_are(analysis: Analysis) -> None:
    many = with_heads(analysis, [(0.5, 104), (0.6, 110)], 2)
    one = with_heads(analysis, [(0.6, 104), (0.5, 110)], 1)
    assert "The line is the Pareto front" in render_html(many)
    assert "Bars: standard error" in render_html(many)
    assert 'class="line c6"' in accuracy_chart(many, 960)
    assert "One head alone is on the Pareto front" in render_html(one)
    assert "The line is" not in render_html(one)
    assert 'class="line c6"' not in accuracy_chart(one, 960)


def test_time_says_of_what(analysis: Analysis) -> None:
    assert "<th>time, full fine-tuning = 100%</th>" in render_html(analysis)
    header = next(line for line in render_text(analysis).splitlines() if line.startswith("cut "))
    assert header.split()[-2:] == ["time", "accuracy"] and "time: of training the whole network" in render_text(
        analysis
    )
