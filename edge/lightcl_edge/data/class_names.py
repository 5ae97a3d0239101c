"""What a class may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lightcl_edge.bundle.manifest import MAX_NAME_LENGTH
from lightcl_edge.errors import DataError

#: Control characters, line ends, marks that turn the direction of text, and bytes that were no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def class_name_fault(name: str) -> str | None:
    """What is wrong with a class's name; None for nothing."""
    if not name.strip():
        return "empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"of {len(name)} characters"
    return "with characters that can't be printed" if _UNPRINTABLE.search(name) else None


def check_class_names(names: Iterable[str]) -> None:
    """Refuse names that can't be shown to a person.

    Args:
        names: of a task's classes.

    Raises:
        DataError: naming the first that is empty, too long, or holds control characters or bytes that are no UTF-8.
    """
    for name in names:
        if (fault := class_name_fault(name)) is not None:
            raise DataError(
                f"the class name {name[:80]!a} is {fault}; expected 1 to {MAX_NAME_LENGTH} printable characters"
            )
