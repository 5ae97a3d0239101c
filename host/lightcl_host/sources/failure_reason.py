"""Why another program's work failed, in one plain line: the first cause of a chain, without colours."""

from __future__ import annotations

import re

_LONGEST = 200
#: What colours a terminal (ECMA-48 control sequences).
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
#: onnxruntime says where it was before it says what is wrong.
_ONNXRUNTIME = re.compile(r"^\[ONNXRuntimeError\].*?Status Message: (?:\S+\.\w+:\d+ \w+ )?", re.DOTALL)


def failure_reason(error: BaseException) -> str:
    """The reason a person can act on.

    Args:
        error: caught; what it was raised from tells more than what was made of it on the way.

    Returns:
        The first line of the first cause's message, or the name of its class where it says nothing.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    plain = _ONNXRUNTIME.sub("", _ESCAPES.sub("", str(error)).strip())
    lines = plain.splitlines()
    return _shortened(lines[0].strip()) if lines else type(error).__name__


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST:
        return line
    return line[:_LONGEST].rsplit(" ", 1)[0] + " ..."
