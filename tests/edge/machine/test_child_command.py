"""The error of a child process is the error here, whatever other classes of errors a program has."""

import pytest

from lightcl_edge.errors import ExitCode, LightclError, RejectedError, UsageError
from lightcl_edge.machine.child_command import Ended


class OtherError(LightclError):
    """As a program may have: of the same exit code, and not made from a message alone."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, more: int) -> None:
        super().__init__(f"{message}, {more}")


@pytest.mark.parametrize(
    ("code", "kind"), [(ExitCode.USAGE, UsageError), (ExitCode.REJECTED, RejectedError), (-9, UsageError)]
)
def test_the_error_of_a_child(code, kind):
    with pytest.raises(kind, match="no class" if code > 0 else "memory") as caught:
        Ended(int(code), {"error": {"message": "no class 'blue'"}}, "").result()
    assert type(caught.value) is kind
