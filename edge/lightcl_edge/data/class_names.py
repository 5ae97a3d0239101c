"""Which names a class may have."""

import re
from collections.abc import Iterable

from lightcl_edge.bundle.manifest import MAX_NAME_LENGTH
from lightcl_edge.errors import DataError

#: Control characters, line ends, marks that turn the direction of text, and bytes that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def class_name_fault(name: str) -> str | None:
    """What is wrong with a class name; None when it is fine."""
    if not name.strip():
        return "empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"of {len(name)} characters"
    return "with characters that can't be printed" if _UNPRINTABLE.search(name) else None


def check_class_names(names: Iterable[str]) -> None:
    """Raise DataError for the first class name with a fault."""
    for name in names:
        if (fault := class_name_fault(name)) is not None:
            raise DataError(
                f"the class name {name[:80]!a} is {fault}; expected 1 to {MAX_NAME_LENGTH} printable characters"
            )
