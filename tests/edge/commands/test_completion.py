"""Real shells complete command lines, where they are installed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys

import pytest

from lightcl_edge import cli as edge_cli
from lightcl_edge.console.program import build_parser
from lightcl_host import cli as host_cli
from small_bundle import make_folder

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = {"lightcl-edge": lambda: edge_cli.commands_for([]), "lightcl-host": host_cli.all_commands}
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_has_help_and_every_command_an_example(program):
    commands = list(PROGRAMS[program]())
    parser = build_parser(program, "", commands)
    (group,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    assert list(group.choices) == [command.name for command in commands]
    for choice, command in zip(group._choices_actions, commands, strict=True):
        assert choice.help, command.name
        for action in group.choices[command.name]._actions:
            assert action.help, f"{command.name} {action.option_strings}"
        assert f"{program} {command.name}" in group.choices[command.name].format_help().split("\nexample:\n")[-1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment in which a shell finds both programs."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in (("lightcl-edge", "lightcl_edge"), ("lightcl-host", "lightcl_host")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture
def script(edge, tmp_path):
    """Writes a shell's script, and gives its path."""

    def write(shell):
        path = tmp_path / "script"
        path.write_text(edge("completion", shell)[0])
        return path

    return write


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_made_and_its_syntax_is_right(edge, script, shell):
    path = script(shell)
    document = json.loads(edge("completion", shell, "--json")[0])
    assert document["shell"] == shell and document["script"] == path.read_text()[:-1]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    check = "--no-execute" if shell == "fish" else "-n"
    done = subprocess.run([shell, check, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def bash(script, environment, tmp_path):
    """What bash offers for the last word of a line."""
    path = script("bash")

    def offered(line, program="lightcl-edge"):
        code = (
            f'source {path}; COMP_LINE="$1"; COMP_POINT=${{#1}}; _python_argcomplete {program}; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        command = ["bash", "-c", code, "bash", f"{program} {line}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
        return [word.rstrip() for word in done.stdout.splitlines() if word]

    return offered


@needs_bash
def test_bash_completes_commands_options_values_and_files(bash, tmp_path):
    (tmp_path / "photos").mkdir()
    assert {"train", "predict", "completion", "profile", "--version"} <= set(bash(""))
    assert bash("tr") == ["train"]
    assert bash("train --str") == ["--strategy"]
    assert bash("train --strategy s") == ["slda"]
    assert bash("train --strategy=s") == ["slda"]
    assert bash("train --data ph") == ["photos/"]
    assert bash("train --epochs ") == []
    assert bash("profile --methods lightcl,ew") == ["lightcl,ewc"]
    assert bash("train --json ph") == []
    assert bash("predict --state photos ph") == ["photos/"]


@needs_bash
def test_bash_completes_what_a_state_holds(edge, bundle, bash, tmp_path):
    data = make_folder(tmp_path / "d", ["red", "green"], count=4)
    make_folder(data, ["blue"], count=4)
    (data / "blue").rename(data / "größe")
    trap = "$(touch trapped)"
    (data / "red").rename(data / "dark red")
    (data / "green").rename(data / trap)
    words = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--strategy", "slda", "--quiet")
    edge(*words)
    edge(*words)
    assert bash("forget --state s --class da") == ["dark\\ red"]  # what a shell reads as one word
    assert bash("forget --state s --class ") == ["\\$\\(touch\\ trapped\\)", "dark\\ red", "größe"]
    assert not (tmp_path / "trapped").exists()
    assert bash("rollback --state s --to ") == ["0", "1", "2"]
    assert bash("rollback --state=s --to 2") == ["2"]
    assert bash("train --state s --from-generation 1") == ["1"]
    assert bash("rollback --to ") == bash("rollback --state photos --to ") == []
    (tmp_path / "s" / "generations" / "000001" / "meta.json").write_text("{")
    assert bash("forget --state s --class gr") == ["größe"]


@needs_bash
def test_bash_completes_the_host_program(bash):
    assert "--trunk-dtype" in bash("export --tr", "lightcl-host")
    assert bash("exp", "lightcl-host") == ["export"]
    assert bash("benchmark --methods joint,sl", "lightcl-host") == ["joint,slda"]
    assert bash("analyze --device rpi4", "lightcl-host") == ["rpi4-2gb"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(script, environment):
    asked = f"source {script('fish')}; complete -C 'lightcl-edge train --strategy '"
    done = subprocess.run(["fish", "-c", asked], capture_output=True, text=True, check=True, env=environment)
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} >= {"auto", "replay", "slda"}


def test_an_unknown_shell_is_a_usage_error(edge):
    assert "invalid choice: 'csh'" in edge("completion", "csh", code=2)[1]


def test_the_host_program_has_it_too(capsys):
    assert host_cli.main(["completion", "bash"]) == 0
    assert "-F _python_argcomplete lightcl-host" in capsys.readouterr().out


def test_argcomplete_is_imported_for_nothing_else():
    code = "from lightcl_edge.cli import main; main(['status', '--state', 'none']); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "argcomplete" not in done.stdout.split() and "lightcl_edge.commands.status" in done.stdout
