"""The methods that can be benchmarked: name -> class, imported only when asked for."""

from __future__ import annotations

import importlib

from lightcl_edge.errors import UsageError
from lightcl_host.benchmark.contract import Method

_DEVICE = "lightcl_host.benchmark.device_methods:"
#: Name -> ``module:Class``.
METHODS = {
    "joint": f"{_DEVICE}Joint",
    "auto": f"{_DEVICE}Auto",
    "replay": f"{_DEVICE}Replay",
    "lightcl": f"{_DEVICE}LightCL",
    "slda": f"{_DEVICE}Slda",
    "ncm": f"{_DEVICE}Ncm",
    "finetune": f"{_DEVICE}Finetune",
}


def parse_methods(text: str) -> list[str]:
    """The methods of a comma-separated list, in its order, each once.

    Args:
        text: names separated by commas.

    Returns:
        The names, without repetitions.

    Raises:
        UsageError: naming an unknown method and all known ones.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        found = f"method {unknown[0]!r}" if unknown else "no method"
        raise UsageError(f"found {found} in --methods, expected one or more of: {', '.join(METHODS)}")
    return names


def make_method(name: str) -> Method:
    """Import a method's class and make one.

    Args:
        name: of ``METHODS``.

    Returns:
        The method, at its beginning.

    Raises:
        UsageError: when what is named is no method.
    """
    module, _, kind = METHODS[name].partition(":")
    made = getattr(importlib.import_module(module), kind)()
    if not isinstance(made, Method):
        raise UsageError(f"{METHODS[name]} is not a benchmark method, expected a subclass of Method")
    return made
