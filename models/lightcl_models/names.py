"""Messages for names that do not exist."""

import difflib
from collections.abc import Sequence

from lightcl_edge.errors import UsageError


def unknown_name(name: str, known: Sequence[str]) -> UsageError:
    """An error that proposes known names of similar spelling."""
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    expected = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(known[:6])} ..."
    return UsageError(f"found no {name!r}; {expected}")
