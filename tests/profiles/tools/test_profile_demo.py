"""The demo's parts that need no minutes: steps that fail, the folder it empties, the table it ends with."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from demo import DemoCommand, _clean, _summary
from demo_steps import StepFailedError, Steps, find_program
from lightcl_edge.console.program import run_program
from lightcl_edge.errors import ExitCode, UsageError

PER_CLASS_1 = {"0": {"accuracy": 1.0, "images": 4}, "1": {"accuracy": 0.5, "images": 4}}
PER_CLASS_2 = {
    "0": {"accuracy": 0.5, "images": 4},
    "1": {"accuracy": 0.5, "images": 4},
    "2": {"accuracy": 1.0, "images": 2},
}
EVALUATIONS = [{"accuracy": 0.75, "per_class": PER_CLASS_1}, {"accuracy": 0.6, "per_class": PER_CLASS_2}]


def _figure(mib: int) -> dict[str, int]:
    return {"median": mib * 2**20, "minimum": 0, "maximum": 0}


def _report() -> dict[str, object]:
    figures = {"peak_rss_bytes": _figure(120), "import_rss_bytes": _figure(45)}
    return {"summary": [{"method": "lightcl", "figures": figures}]}


def test_the_table_comes_from_the_documents() -> None:
    document = _summary([["0", "1"], ["2"]], EVALUATIONS, _report(), Path("out/profile/report.html"))
    assert document["matrix"] == [[0.75], [0.5, 1.0]]
    assert document["classes_seen"] == [2, 3]
    assert document["forgetting"] == pytest.approx(0.25)
    text = DemoCommand().render(document)
    lines = [line.split() for line in text.splitlines()]
    assert ["task", "1", "2", "75.0%", "75.0%"] in lines
    assert ["task", "2", "3", "60.0%", "50.0%", "100.0%"] in lines
    assert "forgetting 25.0%" in text
    assert ["lightcl", "120.0", "MiB", "45.0", "MiB"] in lines
    assert "report: out/profile/report.html" in text.splitlines()
    assert text.endswith("lightcl-edge serve --state out/state, then open http://127.0.0.1:8765/")


def test_a_failing_step_ends_the_demo_with_its_exit_code() -> None:
    shown = io.StringIO()
    steps = Steps(quiet=True, output=shown)
    with pytest.raises(StepFailedError, match=r"stops: lightcl-edge verify nowhere ended with exit code 3") as caught:
        steps.show(["lightcl-edge", "verify", "nowhere"], lines=3)
    assert caught.value.exit_code == ExitCode.BAD_BUNDLE
    assert shown.getvalue() == ""


def test_only_the_first_lines_of_a_command_are_shown() -> None:
    shown = io.StringIO()
    Steps(quiet=False, output=shown).show([Path(sys.executable).name, "-c", "print('1\\n2\\n3')"], lines=2)
    assert shown.getvalue().splitlines()[-2:] == ["1", "2"]


def test_commands_are_shown_as_one_would_type_them(tmp_path: Path) -> None:
    shown = io.StringIO()
    steps = Steps(quiet=False, output=shown)
    with pytest.raises(StepFailedError):
        steps.document(["lightcl-edge", "status", "--state", "no where", "--json"], tmp_path / "s.json")
    assert shown.getvalue().startswith("$ lightcl-edge status --state 'no where' --json > ")


def test_a_missing_command_says_how_to_install_it() -> None:
    with pytest.raises(UsageError, match=r"no command lightcl-nothing, expected it in .*; install with pip install"):
        find_program("lightcl-nothing")
    assert find_program(Path(sys.executable).name)


def test_only_a_folder_of_its_own_is_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    _clean(out)
    (out / "state").mkdir()
    _clean(out)
    assert [path.name for path in out.iterdir()] == ["made-by-lightcl-demo"]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    code = run_program("lightcl-demo", "test", [DemoCommand()], ["demo", "--out", str(foreign)])
    assert code == 2
    assert "holds files the demo did not make" in capsys.readouterr().err
    assert (foreign / "thesis.txt").exists()
