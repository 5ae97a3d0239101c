"""What is published is small, whole, and named in the list of reports."""

from __future__ import annotations

import re
from pathlib import Path

REPORTS = Path(__file__).parents[3] / "profiles" / "reports"
PAGES = sorted(REPORTS.rglob("*.html"))


def test_pages_and_summaries_are_small() -> None:
    files = [path for path in REPORTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 600_000
    assert not [path for path in files if path.suffix == ".json" and path.stat().st_size > 45_000]


def test_pages_are_whole_and_hold_their_command() -> None:
    assert len(PAGES) == 5
    for path in PAGES:
        page = path.read_text()
        assert not re.search(r"https?:|url\(|@import|<script|<link|<img", page), path
        assert re.search(
            r"<h2>The command</h2>\n<pre>(lightcl-(edge|host) \w+|python profiles/tools/\w+\.py) ", page
        ), path


def test_the_list_names_every_report() -> None:
    listed = (REPORTS / "README.md").read_text()
    for path in REPORTS.iterdir():
        assert path.name == "README.md" or f"]({path.name}" in listed, path
