"""Images that a command line names. Files that can't be read are noted and skipped."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.decoding import ByteImage, load_image
from lightcl_edge.data.grey_range import GreyRange
from lightcl_edge.data.image_folders import FORMAT_NAMES, look_into
from lightcl_edge.data.left_out import LeftOut
from lightcl_edge.errors import DataError


class NamedImages:
    """The images of a prediction.

    A folder stands for the images in it. A folder without images stands for those in its sub-folders, one level deep.
    """

    def __init__(self, named: Sequence[Path]) -> None:
        self.paths: list[Path] = []
        self.read: list[Path] = []  # those of ``paths`` that could be read so far
        self.faults: list[tuple[Path, DataError]] = []
        self._left_out = LeftOut()
        for path in named:
            try:
                self.paths += self._images_of(path) if path.is_dir() else [path]
            except DataError as error:
                self.faults.append((path, error))

    def images(
        self, info: InputInfo, limit_bytes: int | None, grey_range: GreyRange | None, progress: Progress
    ) -> Iterator[ByteImage]:
        """Read the images one by one at input size; the paths of the readable ones go to ``read``."""
        for path in progress.track(self.paths, "predicting") if len(self.paths) > 1 else self.paths:
            try:
                image = load_image(path, info, limit_bytes, grey_range)
            except DataError as error:
                self.faults.append((path, error))
                continue
            self.read.append(path)
            yield image

    def unreadable(self) -> list[Document]:
        """The faults for ``--json``."""
        return [{"path": str(path), "kind": error.kind, "message": str(error)} for path, error in self.faults]

    def note(self) -> str | None:
        """Which files of the folders are not used; None when all are."""
        return self._left_out.note()

    def refuse_none(self) -> None:
        """Refuse to go on without any image.

        Raises DataError when no image could be read. A single fault keeps its own kind.
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
            whole = look_into(folder)
        except OSError as error:
            raise DataError(f"the folder {folder} can't be read: {error.strerror}") from error
        found = list(whole.images)
        self._left_out.files += whole.others
        for inner in [] if found else whole.folders:
            found += self._left_out.images_in(inner)
        if not found:
            raise DataError(f"the folder {folder} holds no images ({FORMAT_NAMES} files), nor do its sub-folders")
        return found
