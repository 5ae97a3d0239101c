"""What can't work is refused before the network is opened; stages are named where no bar is drawn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis_toys import arguments
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.progress import Progress
from lightcl_host.analysis.work_bar import WorkBar
from lightcl_host.cli import main
from small_bundle import make_folder


@pytest.fixture
def never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a network takes long, and is a mistake here."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was opened")

    for name in ("export.export.open_source", "analysis.run.open_in_fresh_process", "sources.source.open_source"):
        monkeypatch.setattr(f"lightcl_host.{name}", refuse)


@pytest.mark.parametrize(
    ("command", "wrong", "code", "message"),
    [
        ("export", ["--calibration", "nowhere"], 4, "no data at nowhere"),
        ("export", ["--seed-buffer", "nowhere"], 4, "no data at nowhere"),
        ("export", ["--keep-classes", "nowhere.txt"], 4, "no file at --keep-classes nowhere.txt"),
        ("export", ["--device", "abacus"], 2, "no device 'abacus'"),
        ("export", ["--analysis", "nowhere"], 4, "no analysis at nowhere"),
        ("export", ["--cut", "x", "--analysis", "nowhere"], 2, "--cut x with --analysis"),
        ("prepare", ["--data", "nowhere"], 4, "no data at nowhere"),
        ("prepare", ["--data", "nowhere", "--device", "rpi3"], 4, "no data at nowhere"),
        ("prepare", ["--data", "digits", "--device", "rpi3", "--tasks", "9"], 2, "expected 2 to 5"),
        ("prepare", ["--data", "digits", "--device", "rpi3", "--steps", "0"], 2, "expected 1 or more"),
        ("analyze", ["--data", "nowhere"], 4, "no data at nowhere"),
        ("analyze", ["--data", "digits", "--device", "abacus"], 2, "no device 'abacus'"),
        ("analyze", ["--data", "digits", "--tasks", "9"], 2, "expected 2 to 5"),
        ("analyze", ["--data", "digits", "--images", "9"], 2, "expected 40 or more"),
    ],
)
@pytest.mark.usefixtures("never_opened")
def test_refused_before_the_export(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    wrong: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "--model", "efficientnet_lite0", "--out", "out", *wrong]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("never_opened")
def test_a_file_in_the_way_of_the_analysis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("")
    words = ["analyze", "--model", "efficientnet_lite0", "--data", "digits", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err


def test_stages_are_named_once_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    bar = WorkBar(Progress(), 3.0)
    for label, stage in (("cut a", "cuts"), ("cut b", "cuts"), ("1/2", "repeat 1"), ("1/2", None), ("2/2", "repeat 2")):
        bar.doing(label, stage)
    assert capsys.readouterr().err.splitlines() == ["cuts", "repeat 1", "repeat 2"]
    WorkBar(Progress(quiet=True), 3.0).doing("cut a", "cuts")
    assert capsys.readouterr().err == ""


def test_an_analysis_in_a_pipe_names_its_stages(
    network_file: Path, pictures_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, pictures = network_file, pictures_file
    capsys.readouterr()
    assert main(arguments(network, pictures, tmp_path / "out")) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines.pop(1).startswith("the file does not say, so these are assumed")
    assert lines.pop(1).startswith("the file does not name its classes")
    assert lines[:3] == [
        f"exporting {network} to ONNX",
        f"reading up to 144 images of {pictures}",
        f"predicting the memory of {len(json.loads((tmp_path / 'out/analysis.json').read_text())['cuts'])} cuts",
    ]
    assert lines[3] == "fine-tuning: 3 tasks of at most 3 steps"
    assert lines[4].startswith("training head 1/1: ")
    assert len(lines) == 5


def test_a_replaced_bundle_is_named(
    network_file: Path, exported_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(exported_bundle, tmp_path / "b")
    words = ["export", "--model", str(network_file), "--trunk-dtype", "fp32", "--out", str(out)]
    capsys.readouterr()
    old = Bundle.open(out).identity
    assert main([*words, "--max-classes", "9"]) == 3
    assert "holds a bundle already; name another --out, or replace it with --force" in capsys.readouterr().err
    assert Bundle.open(out).identity == old
    words.append("--force")
    assert main(words) == 0  # the same again is nothing to tell
    assert "was replaced" not in capsys.readouterr().err
    assert main([*words, "--max-classes", "9"]) == 0
    said = capsys.readouterr().err
    assert f"bundle {old[:12]} was replaced by {Bundle.open(out).identity[:12]}" in said
    assert "states made with the old one keep their own copy" in said
    (out / "manifest.json").write_text("{")
    assert main(words) == 0
    assert "a damaged bundle was replaced by" in capsys.readouterr().err


def test_the_host_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "lightcl_host", "cuts", "--model", "nonsense", "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "nonsense" in json.loads(found.stdout)["error"]["message"]


@pytest.mark.usefixtures("never_opened")
def test_what_is_not_used_of_the_images_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_folder(tmp_path / "d", ["red", "green"], count=5)
    (data / "red" / "notes.txt").write_text("x")
    (data / "lost+found").mkdir()
    words = ["--model", "efficientnet_lite0", "--calibration", str(data), "--seed-buffer", str(data)]
    with pytest.raises(AssertionError, match="was opened"):
        main(["export", *words, "--out", str(tmp_path / "b")])
    assert capsys.readouterr().err.count("not used: 1 file that is no image (.txt 1)") == 1
