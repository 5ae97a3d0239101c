"""The one family of errors a user can meet, each with the exit code it ends in.

Only :func:`lightcl_edge.console.program.run_program` turns one into an exit code. A message says what was
found, what was expected and what to do. Every code has a page in ``docs/reference/exit-codes.md``.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of ``lightcl-edge`` and ``lightcl-host``."""

    DONE = 0
    USAGE = 2
    BAD_BUNDLE = 3
    BAD_DATA = 4
    DOES_NOT_FIT = 5
    BAD_STATE = 6
    REJECTED = 7
    NO_ENGINE = 8
    IO_ERROR = 9
    INTERRUPTED = 130


class LightclError(Exception):
    """Root of all errors that are the user's to solve; ``exit_code`` says how the program ends.

    Args:
        message: what was found, what was expected, what to do.
        details: figures behind it, for ``--json``.
    """

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = dict(details or {})

    @property
    def kind(self) -> str:
        """The name of the error's class, as ``--json`` prints it."""
        return type(self).__name__


class UsageError(LightclError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = ExitCode.USAGE


class ClassifierFullError(UsageError):
    """There are more classes than the classifier has rows."""


class BundleError(LightclError):
    """The bundle is missing, damaged, of another format, or does not fit what was asked."""

    exit_code = ExitCode.BAD_BUNDLE


class DataError(LightclError):
    """Images, labels or data specifications can't be used."""

    exit_code = ExitCode.BAD_DATA


class DoesNotFitError(LightclError):
    """The plan needs more memory or disk than there is; nothing was started."""

    exit_code = ExitCode.DOES_NOT_FIT


class StateError(LightclError):
    """The state directory is damaged, locked by another process, or of another bundle."""

    exit_code = ExitCode.BAD_STATE


class BusyStateError(StateError):
    """Another process is changing the state directory."""


class StateChangedError(StateError):
    """The state is at another generation than the caller has seen."""


class RejectedError(LightclError):
    """The gate kept the old head: the new one was worse than allowed."""

    exit_code = ExitCode.REJECTED


class NoEngineError(LightclError):
    """No engine that was asked for can run on this machine."""

    exit_code = ExitCode.NO_ENGINE


class StorageError(LightclError):
    """The disk is full or reading or writing failed."""

    exit_code = ExitCode.IO_ERROR


class InterruptedTaskError(LightclError):
    """The user stopped a running task; its checkpoint is kept."""

    exit_code = ExitCode.INTERRUPTED


class ZipBombError(BundleError):
    """An archive that is compressed, or claims more content than it has bytes."""


class UnsafePathError(BundleError):
    """A file name that could leave the bundle's folder or hide in it."""


class LinkError(BundleError):
    """A symbolic link, device or other special file where a plain file is expected."""


class HugeHeaderError(BundleError):
    """A header, directory or manifest larger than any honest one."""


class DuplicateNameError(BundleError):
    """A file, tensor or key that is named twice."""


class ExternalDataError(BundleError):
    """An ONNX file that keeps tensors in another file."""


class NotFiniteError(BundleError):
    """Weights that are NaN or infinite."""


class MixedBundleError(BundleError):
    """Parts that do not belong together: a trunk, a head or weights of another bundle."""


class SignatureError(BundleError):
    """A bundle that is not signed, or not by the key that is asked for, or was changed afterwards."""


class DowngradeError(SignatureError):
    """A signed bundle that is older than one accepted before, or no longer signed."""


class ImageBombError(DataError):
    """An image that would unpack to far more than its file can honestly hold."""


class HugeImageError(DataError):
    """An image that takes more memory to decode than is left."""
