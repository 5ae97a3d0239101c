"""Why a library failed, in one plain line: the first cause of a chain of errors, without colours."""

import re

_LONGEST = 200
#: Colours of a terminal (ECMA-48 control sequences).
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
#: onnxruntime says where it was before it says what is wrong.
_ONNXRUNTIME = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:.*?Status Message: (?:\S+\.\w+:\d+ \w+ )?)?", re.DOTALL
)


def failure_reason(error: BaseException) -> str:
    """The first line of the first cause's message, or the name of its class where the message is empty."""
    while error.__cause__ is not None:
        error = error.__cause__
    plain = _ONNXRUNTIME.sub("", _ESCAPES.sub("", str(error)).strip())
    lines = plain.splitlines()
    return _shortened(lines[0].strip()) if lines else type(error).__name__


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST:
        return line
    return line[:_LONGEST].rsplit(" ", 1)[0] + " ..."
