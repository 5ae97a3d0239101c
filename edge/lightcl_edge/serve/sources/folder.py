"""The program behind ``folder:DIR``: writes the images of a folder to its output as they come, as clean JPEG files."""

import select
import sys
from collections.abc import Iterator
from pathlib import Path

from lightcl_edge.console.text import printable
from lightcl_edge.data.image_folders import look_into
from lightcl_edge.errors import DataError
from lightcl_edge.files.settling_files import SettlingFiles

#: A file that did not change for so long is whole.
SETTLE_SECONDS = 0.5
_LOOK_SECONDS = 0.25


def images_of(folder: Path) -> list[Path]:
    """The images in a folder and its sub-folders, the oldest first. Links, hidden and other files are left alone."""
    whole = look_into(folder)
    inside = [path for each in whole.folders if not each.is_symlink() for path in look_into(each).images]
    plain = [path for path in [*whole.images, *inside] if not path.is_symlink()]
    return sorted(plain, key=lambda path: (_changed(path), path))


def new_images(folder: Path) -> Iterator[Path | None]:
    """At first the newest image that is there, then each whole one that comes or changes; None when it is time to wait.

    Raises OSError when the folder can't be read.
    """
    settling = SettlingFiles(SETTLE_SECONDS)
    shown = {path: _changed(path) for path in images_of(folder)[:-1]}
    while True:
        present = images_of(folder)
        shown = {path: shown[path] for path in present if path in shown}
        for path in settling.whole(path for path in present if shown.get(path) != _changed(path)):
            shown[path] = _changed(path)
            yield path
        yield None


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def run(folder: Path) -> str | None:
    """Write frames until nobody reads any more; gives what else ended it."""
    from lightcl_edge.serve.sources.jpeg import clean

    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # reports only that the other end was closed
    try:
        for path in new_images(folder):
            if reader.poll(1000 * _LOOK_SECONDS if path is None else 0):
                break
            if path is None:
                continue
            try:
                sys.stdout.buffer.write(clean(path.read_bytes(), str(path)))
                sys.stdout.buffer.flush()
            except FileNotFoundError:
                continue
            except BrokenPipeError:
                break
            except (DataError, OSError) as error:
                print(printable(str(error)), file=sys.stderr, flush=True)
    except OSError as error:
        return f"the folder {folder} can't be read ({error.strerror}); make it or check the disk"
    return None


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
