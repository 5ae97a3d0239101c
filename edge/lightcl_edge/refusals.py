"""What is kept out, each with a name of its own. All are bundle or data errors with those errors' exit codes."""

from __future__ import annotations

from lightcl_edge.errors import BundleError, DataError


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
