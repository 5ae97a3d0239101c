"""What ``make docs`` adds to the documents: the README as the first page, and a page for each command from its help."""

import argparse
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from lightcl_edge import cli as edge_cli
from lightcl_edge.console.program import Command, build_parser
from lightcl_host import cli as host_cli

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
_HELP_COLUMNS = "80"


def commands() -> Iterator[tuple[str, str, Command]]:
    """Program, what it is for, and command, for every command of both programs."""
    for command in edge_cli.commands_for([]):
        yield "lightcl-edge", edge_cli.ABOUT, command
    for command in host_cli.all_commands():
        yield "lightcl-host", host_cli.ABOUT, command


def help_page(program: str, about: str, command: Command) -> str:
    """Markdown of a command's page: its help as the program prints it."""
    parser = build_parser(program, about, [command])
    own = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction)).choices[command.name]
    about_command, own.description = _as_markdown(own.description or ""), None
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _HELP_COLUMNS  # argparse asks for the width here only
    try:
        text = own.format_help()
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return f"# {program} {command.name}\n\n{about_command}\n\n```text\n{text}```\n"


def _as_markdown(text: str) -> str:
    """A docstring whose words are no markup, but for what stands between backticks."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\*_<>\[\]#|])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the commands' pages into the empty list ``Commands`` of the navigation."""
    for section in config.nav or []:
        for entry in next(iter(section.values())) if isinstance(section, dict) else []:
            if isinstance(entry, dict) and entry.get("Commands") == []:
                entry["Commands"] = [
                    {f"{program} {each.name}": _place(program, each)} for program, _, each in commands()
                ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file has."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    for program, about, command in commands():
        files.append(File.generated(config, _place(program, command), content=help_page(program, about, command)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links to files of the source that are no documents become their names: the site has no such file."""

    def inside(match: re.Match[str]) -> str:
        text, link = match[1], match[2]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link.partition("#")[0]))
        if ":" in link or link.startswith("#"):
            return match[0]
        if place.startswith("../"):
            return f"{text} (`{place.removeprefix('../')}` in the source)"
        return (
            match[0]
            if page.file.src_uri != "index.md" or not (ROOT / place).is_file()
            else f"{text} (`{place}` in the source)"
        )

    return _LINK.sub(inside, markdown)


def _place(program: str, command: Command) -> str:
    return f"reference/commands/{program}-{command.name}.md"
