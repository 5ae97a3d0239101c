"""Writes the files of an analysis, ``analysis.json`` and ``report.html``, from one record."""

import json
from pathlib import Path

from lightcl_edge.errors import UsageError
from lightcl_edge.files.durable import replace_durably
from lightcl_host.analysis.record import ANALYSIS_FILE, REPORT_FILE, Analysis
from lightcl_host.analysis.render_html import render_html


def write_analysis(folder: Path, analysis: Analysis) -> None:
    """Write both files into a folder, which is made if it is missing."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(analysis.document(), indent=1, allow_nan=False) + "\n"
    replace_durably(folder / ANALYSIS_FILE, text.encode())
    replace_durably(folder / REPORT_FILE, render_html(analysis).encode())


def check_folder(folder: Path) -> None:
    """Refuse with a UsageError when there is a file in the place of the folder."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file; expected a folder")
