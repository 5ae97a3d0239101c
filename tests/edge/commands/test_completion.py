"""Completion scripts: real shells complete with them where they are installed."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from lightcl_edge.cli import ABOUT, all_commands
from lightcl_edge.console.completion import entries, script
from lightcl_edge.console.program import build_parser
from small_bundle import make_folder

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="module")
def parser():
    return build_parser("lightcl-edge", ABOUT, all_commands())


def test_every_command_and_option_is_there(parser):
    found = {entry.name: entry for entry in entries(parser)}
    assert {"train", "predict", "completion", "profile"} <= set(found)
    options = {word: option for option in found["train"].options for word in option.words}
    assert options["--strategy"].choices[:2] == ["auto", "replay"] and not options["--strategy"].files
    assert options["--data"].files and not options["--epochs"].files and not options["--json"].takes_value


def test_every_option_has_help_and_every_command_an_example(parser):
    for entry in entries(parser):
        assert entry.about, entry.name
        for option in entry.options:
            assert option.about, f"{entry.name} {option.words}"
    assert all(command.example.startswith(("lightcl-edge ", "eval ")) for command in all_commands())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_made_and_its_syntax_is_right(edge, shell, tmp_path):
    document = json.loads(edge("completion", shell, "--json")[0])
    text = edge("completion", shell)[0]
    assert document["shell"] == shell and document["script"] == text.rstrip("\n")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(text)
    check = "--no-execute" if shell == "fish" else "-n"
    done = subprocess.run([shell, check, tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _bash(tmp_path, *words):
    """What bash offers for the last word."""
    program = (
        f"source {tmp_path}/script; COMP_WORDS=(" + " ".join(f"'{word}'" for word in words) + ");"
        f'COMP_CWORD={len(words) - 1}; _lightcl_edge; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_values_and_files(parser, tmp_path):
    (tmp_path / "script").write_text(script("bash", parser))
    (tmp_path / "photos").mkdir()
    assert _bash(tmp_path, "lightcl-edge", "tr") == ["train"]
    assert _bash(tmp_path, "lightcl-edge", "train", "--str") == ["--strategy"]
    assert _bash(tmp_path, "lightcl-edge", "train", "--strategy", "s") == ["slda"]
    assert _bash(tmp_path, "lightcl-edge", "train", "--data", "ph") == ["photos"]
    assert _bash(tmp_path, "lightcl-edge", "train", "--epochs", "") == []
    assert _bash(tmp_path, "lightcl-edge", "predict", "--state", "photos", "ph") == ["photos"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_what_a_state_holds(edge, bundle, parser, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"], count=4)
    make_folder(data, ["blue"], count=4)
    (data / "blue").rename(data / "größe")  # an escape in the record: passed over
    trap = "$(touch trapped)"
    (data / "red").rename(data / "dark red")
    (data / "green").rename(data / trap)
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--strategy", "slda", "--quiet")
    edge(*words)
    edge(*words)
    (tmp_path / "script").write_text(script("bash", parser))
    forget = ("lightcl-edge", "forget", "--state", "s", "--class")
    assert _bash(tmp_path, *forget, "da") == ["dark\\", "red"]  # what a shell reads as one word
    every = " ".join(_bash(tmp_path, *forget, ""))
    assert "touch" in every and "u00" not in every and not (tmp_path / "trapped").exists()
    assert _bash(tmp_path, "lightcl-edge", "rollback", "--state", "s", "--to", "") == ["0", "1", "2"]
    assert _bash(tmp_path, "lightcl-edge", "rollback", "--state", "=", "s", "--to", "2") == ["2"]
    assert _bash(tmp_path, "lightcl-edge", "rollback", "--to", "") == []


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(parser, tmp_path):
    (tmp_path / "script").write_text(script("fish", parser))
    asked = f"source {tmp_path}/script; complete -C 'lightcl-edge train --strategy '"
    done = subprocess.run(["fish", "-c", asked], capture_output=True, text=True, check=True)
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} >= {"auto", "replay", "slda"}


def test_an_unknown_shell_is_a_usage_error(edge):
    assert "invalid choice: 'csh'" in edge("completion", "csh", code=2)[1]


def test_the_host_program_has_it_too(capsys):
    from lightcl_host.cli import main

    assert main(["completion", "bash"]) == 0
    text = capsys.readouterr().out
    assert "complete -F _lightcl_host lightcl-host" in text and "--trunk-dtype" in text
