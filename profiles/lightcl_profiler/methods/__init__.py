"""The ways of learning that can be profiled: one file each behind one contract, loaded by name.

Only the child process that runs a method imports its file.
"""

from collections.abc import Collection
from pathlib import Path

from lightcl_edge.errors import LightclError, UsageError
from lightcl_profiler.baselines import BASELINES

_BASELINE = "lightcl_profiler.methods.baseline:BaselineMethod"

#: Name -> where the class is; the product's strategies first, then the methods of the paper's table.
METHODS = {
    **dict.fromkeys(("slda", "replay"), "lightcl_profiler.methods.lightcl:StrategyMethod"),
    "lightcl": "lightcl_profiler.methods.lightcl:LightClMethod",
    **dict.fromkeys(BASELINES, _BASELINE),
}
#: What is profiled unless the user says otherwise: what people run, and training the whole network beside it.
DEFAULT = ("slda", "replay", "sgd")


def default_methods(bundle: Path) -> tuple[list[str], list[str]]:
    """The default methods that can run here, and of each other one why it can't."""
    from lightcl_profiler.methods.contract import load_method

    chosen, left_out = [], []
    for name in DEFAULT:
        try:
            load_method(METHODS[name]).check(name, bundle)
        except LightclError as error:
            left_out.append(f"{name}: {error}")
        else:
            chosen.append(name)
    return chosen, left_out


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
