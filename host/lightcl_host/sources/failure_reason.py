"""Why a library failed, in one plain line: the first cause of a chain of errors, without colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lightcl_edge.errors import LightclError, UsageError

_LONGEST = 200
#: Colours of a terminal (ECMA-48 control sequences).
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
#: onnxruntime says where it was before it says what is wrong.
_ONNXRUNTIME = re.compile(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : (?:.*?Status Message: )?", re.DOTALL)
#: Its own source: a file, a line and a function, perhaps with the types of its arguments.
_IN_ITS_SOURCE = re.compile(
    r"\S*\.(?:cc|h|cpp):\d+ (?:[\w:<>~&*, ]*::[\w~]+\((?:[^()]|\([^()]*\))*\)(?: const)? |\w+ )"
)


def failure_reason(error: BaseException) -> str:
    """The first line of the first cause's message, or the name of its class where the message is empty."""
    while error.__cause__ is not None:
        error = error.__cause__
    plain = _IN_ITS_SOURCE.sub("", _ONNXRUNTIME.sub("", _ESCAPES.sub("", str(error)).strip()))
    lines = plain.splitlines()
    if not lines:
        return type(error).__name__
    found = f"no {lines[0].strip()} is there" if isinstance(error, KeyError) else lines[0].strip()
    return _shortened(found)


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST:
        return line
    return line[:_LONGEST].rsplit(" ", 1)[0] + " ..."


@contextmanager
def blaming(model: str, done: str, advice: str, kind: type[LightclError] = UsageError) -> Iterator[None]:
    """Turn whatever a library raises while a model is ``done`` ("read", "cut") into one sentence.

    It names the model's part that was in hand. Raises ``kind``; our own errors and those of the disk pass.
    """
    try:
        yield
    except (LightclError, OSError, ModuleNotFoundError):
        raise
    except Exception as error:  # onnx, onnxscript, onnxruntime and numpy raise many classes
        part = part_in_hand(error)
        where = f" at {part}" if part else ""
        raise kind(f"{model} can't be {done}{where}: {failure_reason(error)}; {advice}") from error


def part_in_hand(error: BaseException) -> str:
    """The operator or weight that the innermost function was at; ``""`` where it was at none."""
    found, trace = "", error.__traceback__
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            kind = type(value).__name__
            if kind == "NodeProto":
                found = f"operator {value.op_type} ({', '.join(value.output[:1])})"
            elif kind == "TensorProto":
                found = f"weight {value.name}"
        trace = trace.tb_next
    return found
