"""Names of the network's own classes, and room for those of the device."""

from collections.abc import Sequence
from pathlib import Path

from lightcl_edge.bundle.manifest import MAX_CLASSES, MAX_NAME_LENGTH
from lightcl_edge.data.class_names import canonical, class_name_fault
from lightcl_edge.errors import DataError, UsageError


def check_capacity(capacity: int) -> None:
    """Refuse a number of classifier rows that the bundle's format does not allow."""
    if not 1 <= capacity <= MAX_CLASSES:
        raise UsageError(f"--max-classes {capacity}; expected 1 to {MAX_CLASSES}")


#: In place of a file's name: the names that the model's own file holds.
OWN = Path("own")


def kept_classes(path: Path | None, own: Sequence[str], count: int) -> list[str]:
    """The names in a text file or those in the model's file, ``own``; none without a path.

    Raises DataError as :func:`read_class_names`, and where the model's file names no classes.
    """
    if path != OWN:
        return read_class_names(path, count)
    if not own:
        raise DataError("--keep-classes own: the model's file does not name its classes; name them in a text file")
    return _checked([canonical(name) for name in own], "the model's file", count)


def read_class_names(path: Path | None, count: int) -> list[str]:
    """The names in a text file, one a line; none without a file.

    Raises DataError when the file can't be read, or a name is none that a class may
    have, or it does not name each of the network's ``count`` classes once.
    """
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # editors of Windows write a byte order mark
        names = [name for line in lines if (name := canonical(line))]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--keep-classes {path} can't be read ({error}); expected a text file, a name a line"
        ) from error
    return _checked(names, str(path), count)


def _checked(names: list[str], path: str, count: int) -> list[str]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path} names {repeated[0]!r} more than once; expected {count} different names")
    if len(names) != count:
        raise DataError(f"{path} names {len(names)} classes, expected {count}: one line for each output of the network")
    for name in names:
        if (fault := class_name_fault(name)) is not None:
            raise DataError(
                f"{path}: the class name {name[:80]!a} is {fault}; expected 1 to {MAX_NAME_LENGTH} printable characters"
            )
    return names
