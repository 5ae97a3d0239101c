"""Images that a command line names, files and folders, read one by one; what can't be read is noted and passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.dataset import image_files
from lightcl_edge.data.decoding import ByteImage, load_image
from lightcl_edge.data.image_file import FORMAT_NAMES
from lightcl_edge.data.unused_files import LeftOut, other_files
from lightcl_edge.errors import DataError


class NamedImages:
    """The images of a prediction.

    A folder stands for the images in it; one that has none itself, for those in its sub-folders, one level deep.

    Args:
        named: files and folders.

    Attributes:
        paths: all images that were named.
        read: those of them that could be read, so far.
        faults: of what can't be used: path and error.
        left_out: files of folders that are no images, by suffix.
    """

    def __init__(self, named: Sequence[Path]) -> None:
        self.paths: list[Path] = []
        self.read: list[Path] = []
        self.faults: list[tuple[Path, DataError]] = []
        self.left_out: Counter[str] = Counter()
        for path in named:
            try:
                self.paths += self._images_of(path) if path.is_dir() else [path]
            except DataError as error:
                self.faults.append((path, error))

    def images(self, info: InputInfo, limit_bytes: int | None, progress: Progress) -> Iterator[ByteImage]:
        """Read them.

        Args:
            info: the input size and how to get there.
            limit_bytes: the most this process may take while it decodes; None for what the machine has.
            progress: shows how far it is.

        Yields:
            Those that can be read, at input size; their paths are in ``read``.
        """
        for path in progress.track(self.paths, "predicting") if len(self.paths) > 1 else self.paths:
            try:
                image = load_image(path, info, limit_bytes)
            except DataError as error:
                self.faults.append((path, error))
                continue
            self.read.append(path)
            yield image

    def unreadable(self) -> list[Document]:
        """The faults for ``--json``."""
        return [{"path": str(path), "kind": error.kind, "message": str(error)} for path, error in self.faults]

    def note(self) -> str | None:
        """What was left out of folders; None for nothing."""
        return LeftOut(self.left_out).note()

    def refuse_none(self) -> None:
        """Refuse to go on without any image.

        Raises:
            DataError: when none could be read; of the fault's own kind where there is only one.
        """
        if self.read:
            return
        details = {"unreadable": self.unreadable()}
        if len(self.faults) == 1:
            error = self.faults[0][1]
            raise type(error)(str(error), details) from error
        faults = "; ".join(str(error) for _, error in self.faults[:3])
        more = f"; and {len(self.faults) - 3} more" if len(self.faults) > 3 else ""
        raise DataError(f"none of the {len(self.faults)} images can be read: {faults}{more}", details)

    def _images_of(self, folder: Path) -> list[Path]:
        try:
            inside = [folder]
            if not image_files(folder):
                inside += sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
            found = [path for each in inside for path in image_files(each)]
            for each in inside:
                self.left_out += other_files(each)
        except OSError as error:
            raise DataError(f"the folder {folder} can't be read: {error.strerror}") from error
        if not found:
            raise DataError(f"the folder {folder} holds no images ({FORMAT_NAMES} files), nor do its sub-folders")
        return found
