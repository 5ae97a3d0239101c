"""The documents: links that lead somewhere, commands that exist, a site that is whole and asks nobody for anything."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docs_hook import commands, help_page
from lightcl_edge.console.program import build_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
SHELL = re.compile(r"^ *```(?:sh|bash)?\n(.*?)^ *```", re.M | re.S)
LOADED = re.compile(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?(https?:)?//")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for match in LINK.finditer(text):
        link = match[1] or match[2]
        if not link.startswith(("http:", "https:", "#")):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page}: {link}"


def test_no_folder_has_more_files_than_one_can_look_through():
    for folder in [DOCS, *(each for each in DOCS.rglob("*") if each.is_dir())]:
        assert len(list(folder.iterdir())) <= 20, folder


@pytest.fixture(scope="module")
def parsers():
    """A parser for each program, with all its commands."""
    found = {}
    for program, about, command in commands():
        found.setdefault(program, (about, []))[1].append(command)
    return {program: build_parser(program, about, each) for program, (about, each) in found.items()}


def printed_commands(text):
    """Every call of our programs in a page's shell blocks, as words."""
    for block in SHELL.findall(text):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            found = re.match(r"\s*(?:\$ )?(lightcl-(?:edge|host) .*)", line)
            if found and "COMMAND" not in line and "..." not in line:
                words = shlex.split(found[1], comments=True)
                yield words[: next((i for i, word in enumerate(words) if word in {"|", "&&", ">", ";"}), None)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_printed_command_is_understood(page, parsers, capsys):
    for program, *words in printed_commands(page.read_text()):
        try:
            parsers[program].parse_args(words)
        except SystemExit as ended:
            pytest.fail(f"{page}: {program} {shlex.join(words)}: {capsys.readouterr().err or ended}")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly: a link or an anchor that leads nowhere fails here."""
    out = tmp_path_factory.mktemp("site")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", out]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_each_command_has_a_page_made_from_its_help(site):
    names = {f"{program}-{command.name}.html" for program, _, command in commands()}
    assert {page.name for page in (site / "reference" / "commands").iterdir()} == names
    assert len(names) > 25 and "--max-forgetting" in (site / "reference/commands/lightcl-edge-train.html").read_text()
    program, about, command = next(commands())
    assert f"usage: {program} {command.name}" in help_page(program, about, command)


def test_a_reader_of_the_site_is_sent_nowhere(site):
    for page in site.rglob("*.html"):
        assert not LOADED.search(page.read_text()), page
    assert (site / "search" / "search_index.json").stat().st_size > 100_000
