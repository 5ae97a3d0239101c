"""The ways of learning that can be profiled: one file each behind one contract, loaded by name.

Only the child process that runs a method imports its file.
"""

from collections.abc import Collection

from lightcl_edge.errors import UsageError
from lightcl_profiler.baselines import BASELINES

_BASELINE = "lightcl_profiler.methods.baseline:BaselineMethod"

#: Name -> where the class is; the product first, then the methods of the paper's table.
METHODS = {"lightcl": "lightcl_profiler.methods.lightcl:LightClMethod", **dict.fromkeys(BASELINES, _BASELINE)}


def parse_methods(text: str, known: Collection[str] = METHODS) -> list[str]:
    """The methods of a comma-separated list, or ``all``, in its order, each once; a UsageError names all known ones."""
    if text.strip() == "all":
        return list(known)
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = f"method {unknown[0]!r}" if unknown else "no method"
        raise UsageError(f"found {found} in --methods, expected one or more of: {', '.join(known)}")
    return names
