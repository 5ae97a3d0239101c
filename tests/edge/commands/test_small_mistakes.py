"""Small mistakes on the command line, each with a message that says which."""

from __future__ import annotations

import json
import os

import pytest

from small_bundle import make_folder


def test_options_that_a_strategy_does_not_use_are_told(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"], count=5)
    set_ones = ("--epochs", "2", "--beta", "0.1", "--batch-size", "4", "--engine", "ort")
    for strategy, ignored in (
        ("slda", ["--epochs", "--batch-size", "--beta"]), ("ncm", ["--epochs", "--batch-size", "--beta"]),
        ("finetune", ["--beta"]), ("replay", []),
    ):  # fmt: skip
        common = ("--bundle", bundle, "--state", tmp_path / strategy, "--data", data, "--strategy", strategy)
        out, err = edge("train", *common, *set_ones, "--json")
        document = json.loads(out)
        assert document["ignored"] == ignored and (f"strategy {strategy} does not use" in err) == bool(ignored)
        status = json.loads(edge("status", "--state", tmp_path / strategy, "--json")[0])
        assert status["buffer"] == document["buffer"] and status["buffer"]["samples"] == 8


@pytest.mark.parametrize("number", ["-3", "x", "1.5", "9" * 30])
def test_generations_are_whole_numbers(edge, tmp_path, number):
    common = ("--state", tmp_path / "s")
    assert "0 or more" in edge("train", *common, "--data", "digits", f"--from-generation={number}", code=2)[1]
    assert "0 or more" in edge("rollback", *common, f"--to={number}", code=2)[1]


def test_verify_names_every_problem(edge, bundle):
    for name, change in (
        ("trunk.onnx", lambda data: data[:-10]), ("head.onnx", lambda data: data[:-4] + b"abcd"),
        ("golden.safetensors", lambda data: b""),
    ):  # fmt: skip
        (bundle / name).write_bytes(change((bundle / name).read_bytes()))
    (bundle / "more.txt").write_text("x")
    (bundle / "head.safetensors").rename(bundle.parent / "elsewhere")
    (bundle / "head.safetensors").symlink_to(bundle.parent / "elsewhere")
    out, err = edge("verify", bundle, "--json", code=3)
    document = json.loads(out)
    names = ("trunk.onnx", "head.onnx", "golden.safetensors", "more.txt", "head.safetensors")
    for name in names:
        assert any(name in problem for problem in document["problems"]) and name in err
    assert len(document["problems"]) == len(document["kinds"]) == err.count("error: ") == len(names)
    assert "LinkError" in document["kinds"] and not document["ok"]
    assert "5 problems" in edge("verify", bundle, code=3)[0]


@pytest.mark.parametrize("share", [0.5, 0.005, 0.0])
def test_a_bundle_whose_copy_broke_off(edge, bundle, tmp_path, share):
    from lightcl_edge.bundle.bundle import Bundle
    from lightcl_edge.bundle.writing import write_bundle

    opened = Bundle.open(bundle)
    whole = tmp_path / "whole.lclb"
    write_bundle(whole, opened.manifest, {e.path: (bundle / e.path).read_bytes() for e in opened.manifest.files})
    data = whole.read_bytes()
    part = data[: int(len(data) * share)]
    (tmp_path / "part.lclb").write_bytes(part)
    err = edge("verify", tmp_path / "part.lclb", code=3)[1]
    (tmp_path / "text.lclb").write_text("hello")
    assert "is not a bundle (its 5 bytes are no zip)" in edge("verify", tmp_path / "text.lclb", code=3)[1]
    assert f"part.lclb has {len(part)} bytes" in err and "cut short while it was copied" in err and "sha256sum" in err


def test_options_are_not_abbreviated(edge, tmp_path):
    assert "unrecognized arguments: --js" in edge("status", "--state", tmp_path, "--js", code=2)[1]
    out, _ = edge("status", "--stat", tmp_path, "--json", code=2)
    assert json.loads(out)["error"]["code"] == 2


@pytest.mark.parametrize("options", ["--stat x", "--epoch 3", "--engine torc", "--epochs many", "--help", "more"])
def test_options_for_the_trainer_are_checked_before_an_image_is_touched(edge, bundle, tmp_path, options):
    spool = make_folder(tmp_path / "spool", ["red"], count=1)
    common = ("--bundle", bundle, "--state", tmp_path / "s", "--once", "--settle", "0")
    assert "--train" in edge("watch", spool, *common, "--train", options, code=2)[1]
    assert not (spool / ".learning").exists()


def test_a_pipe_is_no_image(edge, bundle, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"], count=5)
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--strategy", "slda", "--quiet")
    os.mkfifo(tmp_path / "pipe.png")
    assert "is a pipe" in edge("predict", "--state", tmp_path / "s", tmp_path / "pipe.png", code=4)[1]


def test_verify_says_which_problems_there_are(edge, bundle):
    head = bundle / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-4] + b"abcd")
    for more in ((), ("--quiet",)):
        out, err = edge("verify", bundle, *more, code=3)
        assert "1 problem (" in out and "head.safetensors is damaged" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train --state s --daat more/", "--daat (did you mean --data?); the following arguments are required"),
        ("train --state s --daat=more/", "--daat=more/ (did you mean --data?)"),
        ("train --state s --data d --epoch 2", "unrecognized arguments: --epoch 2 (did you mean --epochs?)"),
        ("train --state s --data d --strategy sldaa", "did you mean slda?"),
        ("train --state s --data d --xyzzy", "unrecognized arguments: --xyzzy\n"),
        ("train --state s", "the following arguments are required: --data"),
    ],
)
def test_misspelt_options_are_named_with_what_was_meant(edge, words, says):
    err = edge(*words.split(), code=2)[1]
    assert says in err and err.endswith("Try: lightcl-edge train --help\n")


def test_a_misspelt_command(edge):
    assert "did you mean train?" in edge("trian", "--state", "s", code=2)[1]
    assert "(did you mean --version?)" in edge("--versoin", code=2)[1]


def test_the_host_names_what_was_meant(capsys):
    from lightcl_host.cli import main

    for words, says in ((["exprot"], "did you mean export?"), (["export", "--modle", "m"], "did you mean --model?")):
        assert main(words) == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize("text", ["20", "200", "20.5", "1048575"])
def test_a_budget_without_a_unit_is_asked_for_one(edge, tmp_path, text):
    words = ("train", "--state", tmp_path / "s", "--data", "d", "--memory-budget", text)
    err = edge(*words, code=2)[1]
    assert f"--memory-budget: found '{text}' without a unit" in err and "such as 200MiB" in err


def test_a_damaged_generation_is_left_by_a_command_that_is_told(edge, bundle, tmp_path):
    state, data = tmp_path / "my state", make_folder(tmp_path / "d", ["red", "green"], count=5)
    common = ("--state", state)
    for _ in range(2):
        edge("train", "--bundle", bundle, *common, "--data", data, "--strategy", "slda", "--quiet")
    err = edge("rollback", *common, "--to", "9", code=6)[1]
    assert "found 0 (the bundle as exported), 1, 2" in err
    command = f"lightcl-edge rollback --state '{state}'"
    for name, change in (("head.safetensors", b"x"), ("meta.json", b"{")):
        file = state / "generations" / "000002" / name
        kept = file.read_bytes()
        file.unlink()  # the bundle's head may be the same file; only this name is damaged
        file.write_bytes(change)
        err = edge("predict", *common, data / "red" / "0.png", code=6)[1]
        assert err.strip().endswith(command), err
        file.write_bytes(kept)


def test_an_interrupt_claims_only_what_is_true(edge, monkeypatch, tmp_path):
    from lightcl_edge.commands.status import StatusCommand

    def interrupted(self, args):
        raise KeyboardInterrupt

    monkeypatch.setattr(StatusCommand, "run", interrupted)
    err = edge("status", "--state", tmp_path, code=130)[1]
    assert "nothing half-learned is kept" in err and "before anything was changed" not in err
