"""Import torchvision, also where its C++ library does not fit the installed torch.

The torchvision wheel on PyPI for x86-64 is built for CUDA. With a CPU-only torch its library does not load, and the
import stops because two operators are unknown that torchvision only describes. Networks need neither of them, so their
schemas are enough.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
#: torch forgets an operator when the library object that defined it is collected.
_kept_libraries: list[Any] = []


def import_torchvision() -> ModuleType:
    """The module; RuntimeError when it can't be imported for another reason than the missing operators."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _kept_libraries:
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _define_missing_operators()
    return importlib.import_module("torchvision")


def _define_missing_operators() -> None:
    import torch

    make: Any = torch.library.Library  # torch ships it without types
    library = make("torchvision", "FRAGMENT")
    _kept_libraries.append(library)
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
