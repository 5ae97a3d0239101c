"""The page of a benchmark: every figure with where it comes from, and what is missing said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from profile_samples import MIB, cells, tag

from lightcl_host.cli import main
from lightcl_profiler.reports.benchmark import render_benchmark
from lightcl_profiler.reports.charts import Series, memory_chart
from lightcl_profiler.reports.plot import Box, place_label

MATRIX = [[0.9, 0.0], [0.25, 0.75]]


def entry(method: str, **more: Any) -> dict[str, Any]:
    spread = {"mean": 0.5, "deviation": 0.02}
    figures = ("class_incremental", "task_incremental", "forgetting", "backward_transfer", "forward_transfer")
    return {
        "method": method,
        "title": f"the <{method}>",
        "seeds": [0, 1],
        **dict.fromkeys(figures, spread),
        "per_class": {"cat": spread, "dog": spread},
        "class_incremental_matrix": MATRIX,
        "task_incremental_matrix": MATRIX,
        "settings": {"epochs": 2, "paper": None},
        **more,
    }


@pytest.fixture
def document() -> dict[str, Any]:
    published = {"memory_mib": 153.4, "class_incremental_percent": 34.21, "task_incremental_percent": None}
    measured = {
        "measured_peak_bytes": 520 * MIB,
        "measured_by": "whole process",
        "timeline": [[0.0, MIB], [1.5, 9 * MIB]],
    }
    calculated = {"calculated_memory_bytes": 153 * MIB, "calculated_operations": 123_000_000_000}
    methods = [
        entry("sgd", **measured, **calculated, published={**published, "peta_operations": 7.5}),
        entry("joint", forgetting=None, class_incremental_matrix=[[0.6, 0.6]], task_incremental_matrix=[[0.6, 0.6]]),
    ]
    setting = {"model": "net", "tasks": 2, "data": "cifar10:d", "training_images": 8, "test_images": 4, "seeds": [0, 1]}
    return {"methods": methods, "setting": setting, "published_data": "Split CIFAR-10", "command": "lightcl-host <x>"}


def test_every_figure_says_where_it_comes_from(document: dict[str, Any]) -> None:
    page = render_benchmark(document).replace("\u00a0", " ")
    cards = cells(page)
    for label, figure in (
        ("all classes, measured", "50.0 %"),
        ("the paper's, published", "34.21 %all images, 50 epochs"),
        ("peak of the process, measured", "520.0 MiB"),
        ("its formula, calculated", "153.0 MiB"),
        ("the paper's memory, batch 32, published", "153.4 MiB"),
        ("operations, calculated", "1.23 \u00d7 10¹¹"),
        ("the paper's operations, all images and epochs, published", "7.50 \u00d7 10¹⁵"),
    ):
        assert any(cell.startswith(figure) for cell in cards[label]), label
    for shown in (
        "<th>all classes" + tag("measured"),
        "<th>its formula" + tag("calculated"),
        "<th>the paper&#39;s operations, all images and epochs" + tag("published"),
        "the &lt;sgd&gt;",
        "lightcl-host &lt;x&gt;",
        "Memory over time",
        "<th>after</th><th>1</th><th>2</th>",
        "<td>25.0</td>",
    ):
        assert shown in page, shown
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img|<sgd>", page)


def test_the_lead_says_which_method_is_best_at_what(document: dict[str, Any]) -> None:
    document["methods"].append(entry("er", class_incremental={"mean": 0.277}))
    document["methods"][0]["class_incremental"] = {"mean": 0.1}
    document["methods"][1]["class_incremental"] = {"mean": 0.417}

    def lead() -> str:
        return re.findall('class="lead">(.*?)</p>', render_benchmark(document))[0]

    assert lead() == (
        "2 tasks, 8 training images. Of the methods that learn task after task er names the right one of 2 classes for "
        "27.7 % of 4 test images; no difference from sgd is larger than chance; joint, given all at once, for 41.7 %."
    )
    document["setting"]["test_images"] = 400
    assert lead() == (
        "2 tasks, 8 training images. Of the methods that learn task after task er is best: it names the right one of 2 "
        "classes for 27.7 % of 400 test images; joint, given all at once, for 41.7 %."
    )
    document["methods"][2]["class_incremental"]["deviation"] = 0.2
    assert "er is best" not in lead(), "seeds differ more"
    document["setting"]["test_images"] = 4
    document["methods"] = document["methods"][1:2]
    assert lead().endswith("joint, given all at once, names the right one of 2 classes for 41.7 % of 4 test images.")


def test_no_empty_columns_and_no_word_for_nothing(document: dict[str, Any]) -> None:
    page = render_benchmark({**document, "left_out": {"slda": "no <gradient>"}})
    body = "".join(re.findall("<tbody>(.*?)</tbody>", page, re.DOTALL))
    assert "none" not in body and "unknown_auroc" not in page and "never seen" not in page
    assert "<li><b>slda</b>: no &lt;gradient&gt;</li>" in page


def test_a_page_without_the_newer_figures(document: dict[str, Any], tmp_path: Path) -> None:
    """What earlier versions wrote has neither peaks nor machine."""
    for each in document["methods"]:
        for name in ("measured_peak_bytes", "measured_by", "timeline", "published", "calculated_memory_bytes"):
            each.pop(name, None)
    page = render_benchmark(document)
    assert "Memory over time" not in page
    assert "Accuracy against peak memory" not in page
    (tmp_path / "b.json").write_text(json.dumps(document))
    assert main(["report", "--benchmark", str(tmp_path / "b.json"), "--out", str(tmp_path / "p.html")]) == 0
    assert (tmp_path / "p.html").read_text() == page
    del document["methods"][0]["task_incremental_matrix"]
    (tmp_path / "b.json").write_text(json.dumps(document))
    assert main(["report", "--benchmark", str(tmp_path / "b.json"), "--out", str(tmp_path / "q.html")]) == 4


def test_a_label_finds_a_free_place_or_stays_beside_its_point() -> None:
    taken, inside = [Box(100, 100, 110, 110)], Box(0, 20, 400, 282)
    first = place_label(105, 105, 60, taken, inside)
    assert first == Box(113, 98.5, 173, 111.5)
    second = place_label(105, 105, 60, [*taken, first], inside)
    assert not any(second.meets(box) for box in [*taken, first])
    assert place_label(395, 105, 60, taken, inside).right <= 400
    assert place_label(105, 105, 60, [Box(-1e3, -1e3, 1e3, 1e3)], inside) == first


def test_the_scale_fits_low_accuracies() -> None:
    picture = memory_chart([Series("a", 0, [0.031], 600 * MIB)], 960)
    ticks = re.findall(r'text-anchor="end">([\d.]+)</text>', picture)
    assert ticks == ["0", "1", "2", "3", "4"]
