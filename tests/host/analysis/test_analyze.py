"""``lightcl-host analyze`` and what uses it, through the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis_toys import arguments
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import DataError
from lightcl_host.analysis.record import Analysis, read_analysis
from lightcl_host.cli import main


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than so small a network takes."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightcl_host.analysis.run.usable_cores", lambda: 1)
        patch.setattr("lightcl_edge.learning.engines.torch_engine.usable_cores", lambda: 1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network(network_file: Path) -> Path:
    return network_file


@pytest.fixture(scope="module")
def pictures(pictures_file: Path) -> Path:
    return pictures_file


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory, network: Path, pictures: Path) -> Path:
    out = tmp_path_factory.mktemp("analysis") / "out"
    assert main(arguments(network, pictures, out)) == 0
    return out


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    from lightcl_profiler.devices import profile as device_profile

    folder = Path(device_profile.__file__).parent
    content = (folder / "rpi3.toml").read_text()
    path = tmp_path / "tiny.toml"
    path.write_text(re.sub(r"(\[usable_memory\]\nbytes = )\d+", r"\g<1>1000000", content))
    return path


def without_command(folder: Path) -> dict:
    document = json.loads((folder / "analysis.json").read_text())
    del document["command"]
    return document


def test_the_document(analysed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((analysed / "analysis.json").read_text())
    assert document["device"] == "rpi3" and document["seed"] == 0
    names = [cut["name"] for cut in document["cuts"]]
    assert document["chosen"] in names and names[0] == "stem"
    for cut in document["cuts"]:
        assert 0 <= cut["generalizability"] <= 1 and cut["predicted_peak_bytes"] > 30e6 and cut["fits"]
        both = cut["memory_stability"], cut["learning_plasticity"]
        assert min(both) - 1e-9 <= cut["generalizability"] <= max(both) + 1e-9
    trained = [cut for cut in document["cuts"] if cut["head_accuracy"] is not None]
    assert [cut["name"] for cut in trained] == [document["chosen"]] and trained[0]["head_accuracy"] > 1 / 6
    assert document["cuts"][0]["relative_time"] > document["cuts"][-1]["relative_time"]
    found = read_analysis(analysed)
    assert found == Analysis.from_document(document) and found.document() == document
    assert len(document["other_devices"]) == 6


def test_equal_seeds_give_equal_analyses_and_parts_are_taken_up(
    analysed: Path, network: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    assert main(arguments(network, pictures, again, shortlist=0)) == 0  # some parts of the whole
    (damaged,) = (again / "work").glob("fine-tuning*")
    damaged.write_text("{")  # it is made again
    parts = {path: path.stat().st_mtime_ns for path in (again / "work").glob("*.json")}
    assert len(parts) > 1
    assert main(arguments(network, pictures, again)) == 0
    assert without_command(again) == without_command(analysed)
    assert {path for path in parts if path.stat().st_mtime_ns != parts[path]} == {damaged}


def command(network: Path, pictures: Path, out: Path) -> list[str]:
    """The program in a process of its own."""
    program = "import sys; from lightcl_host.cli import main; sys.exit(main())"
    return [sys.executable, "-c", program, *arguments(network, pictures, out)]


@pytest.mark.slow
def test_a_killed_analysis_goes_on(network: Path, pictures: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(network, pictures, whole), check=True, capture_output=True)
    process = subprocess.Popen(command(network, pictures, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list((out / "work").glob("fine-tuning*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (out / "analysis.json").exists()
    first = next((out / "work").glob("fine-tuning*.json")).stat().st_mtime_ns
    subprocess.run(command(network, pictures, out), check=True, capture_output=True)
    assert without_command(out) == without_command(whole)
    assert next((out / "work").glob("fine-tuning*.json")).stat().st_mtime_ns == first


def test_the_report_stands_alone(analysed: Path) -> None:
    from html.parser import HTMLParser

    page = (analysed / "report.html").read_text()
    HTMLParser().feed(page)
    analysis = read_analysis(analysed)
    assert not re.search(r'(src|href)\s*=(?!"#)|url\(|@import|<script|https?://[^<"]*"', page)
    assert page.count("<svg") == page.count("</svg>") == 4 and "default-src 'none'" in page
    for cut in analysis.cuts:
        assert re.search(rf"<td[^>]*>{re.escape(cut.name)}<", page)
    assert "threshold 0.95" in page and f"chosen: {analysis.chosen}" in page and "Pareto front" in page
    assert analysis.choice.reason.split(":")[0].replace("'", "&#39;") in page


def test_names_are_escaped(analysed: Path) -> None:
    from dataclasses import replace

    from lightcl_host.analysis.render_html import render_html

    analysis = read_analysis(analysed)
    evil = replace(analysis.cuts[0], name="<script>x</script>", stage="<b>", head_note="<i>")
    page = render_html(replace(analysis, model="<script>y</script>", cuts=[evil, *analysis.cuts[1:]]))
    assert "<script" not in page and "&lt;script&gt;" in page


def test_nothing_fits(
    analysed: Path, network: Path, pictures: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    out = tmp_path / "out"
    shutil.copytree(analysed, out)
    assert main(arguments(network, pictures, out, device=tiny)) == 5
    document = json.loads(capsys.readouterr().out)
    assert document["chosen"] is None and "No cut fits" in document["choice"]["reason"]
    assert not any(cut["fits"] or cut["shortlisted"] for cut in document["cuts"])
    bundle = tmp_path / "bundle"
    for options in (["--analysis", out], ["--device", tiny], ["--cut", "stage1", "--device", tiny]):
        words = ["export", "--json", "--model", network, "--out", bundle, *options]
        assert main([str(word) for word in words]) == 5
        assert json.loads(capsys.readouterr().out)["error"]["kind"] == "DoesNotFitError"
    assert not bundle.exists()


def test_export_takes_the_analysis_and_the_manifest_says_so(
    analysed: Path, network: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = read_analysis(analysed)
    common = ["--model", str(network), "--calibration", str(pictures), "--trunk-dtype", "fp32"]
    out = tmp_path / "bundle"
    assert main(["export", "--json", *common, "--analysis", str(analysed), "--out", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    choice = Bundle.open(out).manifest.provenance["choice"]
    assert document["cut"] == analysis.chosen == Bundle.open(out).manifest.model.cut
    assert document["choice"] == choice and choice["device"] == "rpi3" and choice["reason"] == analysis.choice.reason
    assert choice["generalizability"] == analysis.cut(analysis.chosen).generalizability
    for wrong, message in (
        (["--cut", "stage1", "--analysis", str(analysed)], "--cut stage1 with --analysis"),
        (["--analysis", str(tmp_path)], "no analysis at"),
        (["--analysis", str(analysed), "--device", "rpi"], "no device 'rpi'"),
    ):
        assert main(["export", "--json", *common, *wrong, "--out", str(tmp_path / "b")]) in (2, 4)
        assert message in json.loads(capsys.readouterr().out)["error"]["message"]


def test_prepare_for_a_device(
    analysed: Path, network: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(analysed, tmp_path / "bundle-analysis")  # its parts are taken up
    words = arguments(network, pictures, tmp_path / "bundle")
    assert main(["prepare", *words[1:], "--trunk-dtype", "fp32"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cut"] == read_analysis(analysed).chosen and document["choice"]["device"] == "rpi3"
    assert document["analysis"] == str(tmp_path / "bundle-analysis" / "report.html")
    common = ["prepare", "--json", "--model", str(network), "--data", str(pictures), "--out", str(tmp_path / "b")]
    assert main([*common, "--steps", "3"]) == 2
    assert "--steps is for the analysis" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": 4}, "expected 2 to 3"),
        ({"images": 5}, "expected 24 or more"),
        ({"steps": 0}, "--steps 0; expected 1 or more"),
        ({"shortlist": -1}, "expected 0 or more"),
        ({"threshold": 2}, "expected 0 to 1"),
        ({"learning_rate": 0}, "expected a number above 0"),
        ({"device": "abacus"}, "no device 'abacus'"),
    ],
)
def test_wrong_arguments(
    network: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict, message: str
) -> None:
    assert main(arguments(network, pictures, tmp_path / "out", **changed)) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_a_damaged_analysis_is_refused(analysed: Path, tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    text = (analysed / "analysis.json").read_text()
    for content, message in (
        ("{", "is not JSON"),
        ("[]", "holds list"),
        ("{}", "expected 'lightcl-analysis' 2"),
        (text.replace('"format_version": 2', '"format_version": 1'), "version 1"),
        (text.replace('"fits": true', '"fits": 1', 1), "expected true or false"),
        (text.replace('"stage"', '"stages"'), "lacks 'stage'"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match="analysis") as caught:
            read_analysis(tmp_path)
        assert message in str(caught.value)


def test_remarks_name_what_a_person_would_want_to_know(analysed: Path) -> None:
    from dataclasses import replace

    from lightcl_host.analysis.remarks import remarks

    analysis = replace(read_analysis(analysed), held_images=400, stability_rank_correlation=-0.9)
    chosen = analysis.cut(str(analysis.chosen))
    thumb = next(cut for cut in analysis.cuts if cut.name != chosen.name)

    def with_heads(mine: float | None, other: float | None) -> str:
        cuts = [replace(thumb, head_accuracy=other), replace(chosen, head_accuracy=mine)]
        found = replace(analysis, cuts=cuts, rule_of_thumb=thumb.name)
        return remarks(found, random_weights=False)[0]

    assert f"takes {thumb.name}, whose head is less accurate by 30.0%" in with_heads(0.8, 0.5)
    assert f"takes {thumb.name}, as good within chance (70.0%)" in with_heads(0.71, 0.7)
    assert "was not compared" in with_heads(0.7, None)
    same = remarks(replace(analysis, rule_of_thumb=chosen.name), random_weights=False)[0]
    assert same == f"The rule of thumb (no analysis) takes {chosen.name} too."
    assert "weights are random" in remarks(analysis, random_weights=True)[0]
    rising = remarks(replace(analysis, stability_rank_correlation=0.3), random_weights=False)
    assert any("does not fall with depth" in text for text in rising)
    partly = remarks(replace(analysis, trained_from="stem"), random_weights=False)
    assert any("Layers before stem" in text for text in partly)
    assert any("estimate" in text for text in remarks(analysis, random_weights=False))


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_few_classes_need_no_options(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], classes: int
) -> None:
    labels = np.repeat([f"c{row}" for row in range(classes)], 12)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", x=pixels, y=labels)
    words = [
        "analyze",
        "--json",
        "--model",
        network,
        "--data",
        tmp_path / "few.npz",
        "--out",
        tmp_path / "out",
        "--quick",
    ]
    assert main([str(word) for word in words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["tasks"] == 2 and document["settings"]["steps"] == 5
    assert len(document["tasks"][0]) == (classes if classes < 4 else 2)
    assert not any(cut["shortlisted"] for cut in document["cuts"])


def test_prepare_takes_the_rule_of_thumb_for_few_classes(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "two.npz", x=pixels, y=np.repeat(["cat", "dog"], 12))
    words = ["prepare", "--model", network, "--data", tmp_path / "two.npz", "--device", "rpi3", "--out", tmp_path / "b"]
    assert main([str(word) for word in words]) == 0
    assert "has 2 classes, too few to compare layers by" in capsys.readouterr().err
    choice = Bundle.open(tmp_path / "b").manifest.provenance["choice"]
    assert choice["rule"] == "fits" and choice["device"] == "rpi3"


def test_the_text_fits_a_terminal_and_ends_with_advice(analysed: Path) -> None:
    from lightcl_host.analysis.render_text import render_text

    lines = render_text(read_analysis(analysed)).splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(lines[-2:]).startswith("Next: lightcl-host export with --analysis")
