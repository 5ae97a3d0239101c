"""A board's side of a round with a server. ``share`` and ``merge`` run in processes of their own.

So whatever carries the messages, such as Flower, takes no memory of the process that learns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.console.text import Document
from lightcl_edge.fleet.kept import Kept
from lightcl_edge.machine.child_command import Ended, run_command
from lightcl_edge.state.board import KEPT, read_board
from lightcl_edge.state.state import State


@dataclass(frozen=True)
class Member:
    """A state that takes part in a fleet.

    Attributes:
        bundle: what a new state begins with; None when there is a state.
        name: of the board; None for the one it has, or a random one.
        sign: private key to sign with.
        key: public key that must have signed what comes from others; None for no matter who.
        max_forgetting: as for ``merge``; None for its default.
    """

    state: Path
    bundle: Path | None = None
    name: str | None = None
    sign: Path | None = None
    key: Path | None = None
    max_forgetting: float | None = None

    def share(self, known: Mapping[str, str]) -> tuple[Document, bytes | None]:
        """What this board knows, and its knowledge file unless the server has that.

        Args:
            known: the label of what the server has, by board; see :func:`label`.

        Returns:
            The document of ``share``, empty for a new board, or ``{"error": ...}``; and the file's bytes.
        """
        document, content = self._share([])
        if content is None or known.get(document["board"]) == label(document["version"], document["digest"]):
            return document, None
        return document, content

    def _share(self, options: list[str]) -> tuple[Document, bytes | None]:
        """The document of ``share``, empty for a new board, or ``{"error": ...}``; and its file."""
        if not State(self.state).exists():
            return {}, None
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "knowledge"
            words = ["share", "--state", str(self.state), "--out", str(out), *options]
            document = _document(run_command([*words, *_option("--board", self.name), *_option("--sign", self.sign)]))
            return document, None if "error" in document else out.read_bytes()

    def announce(self, counted: Mapping[str, int], erased: Mapping[str, int]) -> Document:
        """As ``Kept.announcement``; empty for a new board, or ``{"error": ...}``.

        Args:
            counted: by board the version that the pool counts.
            erased: as for ``Kept.announcement``.
        """
        board = read_board(self.state).name or self.name
        before = int(counted.get(str(board), 0))
        document, _ = self._share(["--keep", str(before)])
        return document if "version" not in document else self.kept.announcement(document, before, erased)

    @property
    def kept(self) -> Kept:
        """What this board shared."""
        return Kept(self.state / KEPT)

    def train_head(self, files: Mapping[str, bytes]) -> tuple[Document, bytes | None]:
        """A head that is trained on what this board remembers, from the one in ``files`` on if there is one.

        Returns:
            The document of ``share --train-head``, or ``{"error": ...}``; and the file's bytes.
        """
        with tempfile.TemporaryDirectory() as folder:
            out, begin = Path(folder) / "head", Path(folder) / "begin"
            for content in files.values():
                begin.write_bytes(content)
            words = ["share", "--train-head", "--state", str(self.state), "--out", str(out)]
            words += _option("--begin", begin if files else None)
            document = _document(run_command([*words, *_option("--board", self.name), *_option("--sign", self.sign)]))
            return document, None if "error" in document else out.read_bytes()

    def merge(self, files: Mapping[str, bytes]) -> Document:
        """Take in what other boards shared, by their names; gives the document of ``merge``, or ``{"error": ...}``."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{number}.knowledge" for number in range(len(files))]
            for path, content in zip(paths, files.values(), strict=True):
                path.write_bytes(content)
            words = ["merge", "--state", str(self.state), *_option("--key", self.key)]
            words += _option("--max-forgetting", self.max_forgetting)
            if not State(self.state).exists():
                words += _option("--bundle", self.bundle)
            return _document(run_command([*words, *map(str, paths)]))


def label(version: int, digest: str) -> str:
    """Short name of what a board shared: equal for equal files."""
    return f"{version}:{digest[:16]}"


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]


def _document(ended: Ended) -> Document:
    if ended.code == 0:
        return ended.document
    return {"error": {"code": ended.code, "kind": ended.kind, "message": ended.message}}
