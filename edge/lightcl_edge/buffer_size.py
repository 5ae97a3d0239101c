"""How large the long-term memory may be, as a person says it."""

from __future__ import annotations

from lightcl_edge.console.text import parse_bytes
from lightcl_edge.errors import UsageError
from lightcl_edge.feature_buffer import BufferIdentity, samples_that_fit

#: Two megabytes: 650 features of EfficientNet-Lite0 at 128 pixels.
DEFAULT_BUFFER_BYTES = 2_000_000


def buffer_limit(text: str | None, identity: BufferIdentity) -> int:
    """Samples that the buffer may hold.

    Args:
        text: a number of samples (``500``), a size (``2MB``), or None for ``DEFAULT_BUFFER_BYTES``.
        identity: of the buffer, with the size of a sample.

    Returns:
        The number of samples; 0 for no memory.

    Raises:
        UsageError: when it is neither, or so few bytes that no sample fits.
    """
    if text is None:
        return samples_that_fit(DEFAULT_BUFFER_BYTES, identity)
    if text.strip().isdecimal():
        return int(text)
    if not text.strip()[:1].isdecimal():
        raise UsageError(f"--buffer-size {text!r}; expected a number of samples, such as 500, or a size, such as 2MB")
    return samples_that_fit(parse_bytes(text), identity)
