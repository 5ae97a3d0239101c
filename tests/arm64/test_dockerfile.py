"""The Dockerfile: its rules, and that it runs the same steps as the test under emulation."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arm64 import layers

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "edge" / "docker"


def instructions(text):
    """Pairs of instruction and argument; comments left out, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def stages(text):
    """Stage name -> its instructions; the last has the name ``""``."""
    found, name = {}, ""
    for word, rest in instructions(text):
        if word == "FROM":
            name = rest.split(" AS ")[1] if " AS " in rest else ""
            found[name] = [(word, rest.split(" AS ")[0])]
        else:
            found[name].append((word, rest))
    return found


@pytest.fixture(scope="module")
def dockerfile():
    return stages((ROOT / "Dockerfile.arm64").read_text())


def said(stage, word):
    return [rest for instruction, rest in stage if instruction == word]


def test_every_step_is_a_script_that_the_emulated_test_runs_too(dockerfile):
    steps = [shlex.split(rest) for stage in dockerfile.values() for rest in said(stage, "RUN")]
    scripts = [next(word for word in words if word.endswith(".sh")) for words in steps]
    names = {Path(script).name for script in scripts}
    assert names == {path.name for path in SCRIPTS.glob("*.sh")} - {"healthcheck.sh"}
    assert all(os.access(SCRIPTS / name, os.X_OK) for name in names)
    test = "".join((ROOT / "tests" / "arm64" / f"{name}.py").read_text() for name in ("layers", "inputs"))
    assert all(f'"{name}"' in test for name in names)
    assert not any(set(words) & {"&&", ";", "|", "pip", "apt-get"} for words in steps)


def test_bases_are_pinned_by_tag_and_are_one(dockerfile):
    bases = {rest for stage in dockerfile.values() for rest in said(stage, "FROM")}
    outside = bases - set(dockerfile)
    assert outside == {f"debian:{layers.SUITE}-slim"}


def test_the_image_that_runs_has_an_ordinary_user_a_volume_and_a_health_check(dockerfile):
    last = dockerfile[""]
    assert said(last, "FROM") == ["system"]  # none of pip, none of the sources
    assert said(last, "USER") == [f"{layers.USER}:{layers.USER}"] and said(last, "VOLUME") == ['["/state"]']
    assert said(last, "ENTRYPOINT") == ['["lightcl-edge"]'] and not said(last, "RUN")
    (check,) = said(last, "HEALTHCHECK")
    assert "/opt/lightcl/healthcheck.sh" in check
    assert f"--uid {layers.USER}" in (SCRIPTS / "system.sh").read_text()


def test_the_emulated_test_has_the_image_s_environment(dockerfile):
    (line,) = said(dockerfile[""], "ENV")
    assert dict(word.split("=", 1) for word in shlex.split(line)) == layers.ENVIRONMENT


def test_layers_go_from_lasting_to_changing(dockerfile):
    copied = [rest.split()[1] for rest in said(dockerfile[""], "COPY") if rest.startswith("--from")]
    assert copied == ["/opt/lightcl/python", "/opt/lightcl/app"]
    # A changed line of the product changes neither of the two layers that take long.
    for name in ("system", "tools", "dependencies"):
        sources = [word for rest in said(dockerfile[name], "COPY") for word in rest.split()[:-1]]
        assert all((ROOT / source).is_file() and "lightcl_" not in source for source in sources)


def test_versions_come_from_the_constraints(dockerfile):
    copies = " ".join(said(dockerfile["dependencies"], "COPY"))
    assert "constraints.txt" in copies and "constraints-arm64.txt" in copies
    script = (SCRIPTS / "dependencies.sh").read_text()
    assert "--constraint" in script and "--only-binary=:all:" in script
    assert not re.search(r"install[^\n]*==", script)


def test_what_is_copied_is_not_ignored(dockerfile):
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [
        word
        for stage in dockerfile.values()
        for rest in said(stage, "COPY")
        if not rest.startswith("--from")
        for word in rest.split()[:-1]
        if word != "."
    ]
    wheel = re.search(r"for part in ([^;]+);", (SCRIPTS / "wheel.sh").read_text()).group(1).split()
    assert {source.split("/")[0] for source in [*sources, *wheel]} <= kept


@pytest.mark.parametrize("program", ["hadolint", "shellcheck"])
def test_linters_have_nothing_to_say(program):
    path = shutil.which(program, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if path is None:
        pytest.skip(f"{program} is not packaged for this machine")
    files = [ROOT / "Dockerfile.arm64"] if program == "hadolint" else sorted(SCRIPTS.glob("*.sh"))
    done = subprocess.run([path, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("answer", [0, 6])
def test_the_health_check_asks_the_product(tmp_path, learned, answer):
    program = tmp_path / "lightcl-edge"
    program.write_text(f'#!/bin/sh\necho "$@" >"{tmp_path}/asked"\nexit {answer}\n')
    program.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir()
    if learned:
        (state / "CURRENT").write_text("1")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LIGHTCL_STATE": str(state)}
    done = subprocess.run([SCRIPTS / "healthcheck.sh"], env=environment, check=False)
    assert done.returncode == answer
    assert (tmp_path / "asked").read_text().split() == (
        ["status", "--state", str(state)] if learned else ["doctor", "--engine", "ort"]
    )
