"""Which names a class may have, and which names are one."""

import re
from collections.abc import Iterable, Sequence

from lightcl_edge.bundle.manifest import MAX_NAME_LENGTH
from lightcl_edge.errors import DataError

#: Control characters, line ends, marks that turn the direction of text or are not seen, and bytes that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def canonical(name: str) -> str:
    """The one form of a class name: no spaces around it, and letters with their accents as one character (NFC).

    A folder made on macOS may be called the same with the accents apart, which looks alike.
    """
    if name.isascii():
        return name.strip()
    import unicodedata

    return unicodedata.normalize("NFC", name).strip()


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


def nearly_equal(new: Sequence[str], classes: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a new class and another one whose names differ only in capitals, spaces, dashes or underscores."""
    keys = {name: _key(name) for name in classes}
    return [
        (name, other)
        for place, name in enumerate(new)
        for other in classes
        if other != name and other not in new[:place] and keys[other] == keys[name]
    ]


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", canonical(name).casefold())
