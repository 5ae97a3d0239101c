"""The table of starting times."""

from __future__ import annotations

import json

from one_command import run_command
from startup import StartupCommand


def test_the_benchmark_prints_ratios(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["startup", "--runs", "1", "--json"])
    assert run_command(StartupCommand()) in (0, 5)  # whether it is fast enough is for a machine that does nothing else
    rows = json.loads(capsys.readouterr().out)["startup"]
    assert [row["what"] for row in rows] == ["python", "import lightcl_edge", "lightcl-edge --help"]
    assert rows[0]["ratio_to_python"] == 1.0 and rows[2]["milliseconds"] > 0
