"""Small JSON files, read strictly and with a limit, because somebody may have changed them."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from lightcl_edge.files.plain import read_limited

#: No JSON file of a state comes near this.
MAX_JSON_BYTES = 4 * 2**20


class RepeatedKeyError(ValueError):
    """JSON with the same key twice in one object."""


def parse_json(data: bytes) -> Any:
    """Parse JSON in UTF-8. NaN, infinities, numbers that become infinite and repeated keys are a ValueError too."""
    try:
        return json.loads(
            data.decode(), parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_duplicates
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file, or a ValueError when it is too large or not JSON."""
    return parse_json(read_limited(path, MAX_JSON_BYTES))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"holds the number {name}, expected finite numbers only")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"holds the number {text[:20]}, expected finite numbers only")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(value := dict(pairs)) < len(pairs):
        name = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise RepeatedKeyError(f"names {name[:80]!a} twice, expected each key once")
    return value
