"""The device's long-term memory: quantised features of earlier tasks, bounded in bytes, fair to every class.

A buffer holds at most ``limit`` samples. Every class may keep ``limit // classes`` of them (the first classes one
more where that leaves a rest); what a class does not fill stays free for the others. Each sample carries a *rank*,
and a class that must shrink loses its largest ranks, so that shrinking needs no second look at the data:

- ``reservoir``: the rank is a random number drawn once. Keeping the smallest ranks is reservoir sampling (Vitter 1985,
  in its bottom-k form): whatever the order and number of tasks, what stays is a uniform sample of all that was seen.
- ``herding``: the rank is the position in the greedy order of iCaRL (Rebuffi et al. 2017, algorithm 4): the first
  samples together come as near as can be to the class mean of the features, averaged over space.

On disk a buffer is ``buffer.safetensors``; ``docs/bundle.md`` says how. It names the trunk whose features it holds:
under another trunk the numbers mean nothing, so a buffer of another trunk is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import FeatureInfo
from lightcl_edge.console.text import parse_bytes
from lightcl_edge.data.features import FeatureCodec
from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.tensors import ByteArray, IntArray

Tensors = Mapping[str, NDArray[np.generic]]

FILLS = ("reservoir", "herding")
_SAMPLES = ("features", "labels", "ranks", "seen")
#: Tensors of ``buffer.safetensors``; see ``docs/bundle.md``.
_TENSORS = {"features", "labels", "ranks", "seen", "trunk", "scale", "zero_point"}


@dataclass(frozen=True)
class BufferIdentity:
    """What the bytes of a buffer mean.

    Attributes:
        trunk_sha256: of the ``trunk.onnx`` that made the features.
        shape: of one feature.
        scale: of the uint8 form, one number or one a channel.
        zero_point: likewise.
    """

    trunk_sha256: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]

    @property
    def sample_bytes(self) -> int:
        """Size of one stored feature."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class FeatureBuffer:
    """Samples of earlier tasks. Never changed: each operation gives a new buffer.

    Attributes:
        identity: what the bytes mean.
        features: uint8, shape ``(n, *identity.shape)``, ordered by class and rank.
        labels: rows of the classifier, shape ``(n,)``.
        ranks: what goes first when a class must shrink, shape ``(n,)``: the largest.
        seen: how many samples of each row were ever offered, shape ``(rows,)``.
    """

    identity: BufferIdentity
    features: ByteArray
    labels: IntArray
    ranks: NDArray[np.float64]
    seen: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def empty(cls, identity: BufferIdentity) -> FeatureBuffer:
        """A buffer that has seen nothing."""
        return cls(identity, np.empty((0, *identity.shape), np.uint8), np.empty(0, np.int64), np.empty(0))

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, positions: IntArray) -> NDArray[np.float32]:
        """Float features at some positions, shape ``(len(positions), *identity.shape)``."""
        info = FeatureInfo(list(self.identity.shape), list(self.identity.scale), list(self.identity.zero_point))
        return FeatureCodec(info).decode(self.features[positions])

    @property
    def bytes(self) -> int:
        """Size of all that it holds."""
        return self.bytes_of({name: getattr(self, name) for name in _SAMPLES})

    @staticmethod
    def bytes_of(tensors: Tensors) -> int:
        """The same of what a generation holds: samples with their labels, ranks and counts."""
        return sum(int(tensors[name].nbytes) for name in _SAMPLES if name in tensors)

    def forget(self, row: int) -> FeatureBuffer:
        """Without a class: its samples and counts go, the rows above it move one down.

        Args:
            row: of the classifier.

        Returns:
            The buffer without it.
        """
        keep = self.labels != row
        labels = self.labels[keep]
        seen = np.delete(self.seen, row) if row < len(self.seen) else self.seen
        return replace(
            self, features=self.features[keep], labels=labels - (labels > row), ranks=self.ranks[keep], seen=seen
        )

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What ``buffer.safetensors`` holds."""
        return {
            "features": self.features,
            "labels": self.labels,
            "ranks": self.ranks,
            "seen": self.seen,
            "trunk": np.frombuffer(bytes.fromhex(self.identity.trunk_sha256), np.uint8),
            "scale": np.asarray(self.identity.scale, np.float32),
            "zero_point": np.asarray(self.identity.zero_point, np.int64),
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, identity: BufferIdentity) -> FeatureBuffer:
        """Read what a generation or a bundle holds.

        Args:
            tensors: of ``buffer.safetensors``; none at all give an empty buffer.
            identity: what this device's bundle expects.

        Returns:
            The buffer.

        Raises:
            StateError: when it belongs to another trunk or does not fit itself.
        """
        if not tensors:
            return cls.empty(identity)
        if set(tensors) != _TENSORS:
            raise StateError(f"buffer.safetensors holds {sorted(tensors)}, expected {sorted(_TENSORS)}")
        _check_identity(tensors, identity)
        features, labels, ranks, seen = (tensors[name] for name in ("features", "labels", "ranks", "seen"))
        count = labels.size
        fits = features.dtype == np.uint8 and features.shape == (count, *identity.shape)
        fits = fits and ranks.shape == labels.shape == (count,) and seen.ndim == 1
        fits = fits and labels.dtype == seen.dtype == np.int64 and ranks.dtype == np.float64
        if not fits or (count and not 0 <= int(labels.min()) <= int(labels.max()) < len(seen)):
            raise StateError(
                f"buffer.safetensors: features {features.dtype} {features.shape}, labels {labels.dtype} "
                f"{labels.shape}, ranks {ranks.dtype} {ranks.shape}, seen {seen.dtype} {seen.shape} do not fit; "
                f"expected uint8 (n, *{identity.shape}), a label below the length of seen and a rank each"
            )
        if not (np.isfinite(ranks.astype(np.float64)).all() and _are_counts(seen.astype(np.int64))):
            raise StateError("buffer.safetensors: ranks or seen hold NaN, infinity or no counts; expected numbers")
        return cls(
            identity,
            features.astype(np.uint8, copy=False),
            labels.astype(np.int64, copy=False),
            ranks.astype(np.float64, copy=False),
            seen.astype(np.int64, copy=False),
        )


def _are_counts(seen: IntArray) -> bool:
    return bool(((seen >= 0) & (seen < 2**53)).all())


def _check_identity(tensors: Tensors, identity: BufferIdentity) -> None:
    if tensors["trunk"].dtype != np.uint8 or tensors["trunk"].shape != (32,):
        raise StateError(f"buffer.safetensors: trunk is {tensors['trunk'].dtype} {tensors['trunk'].shape}, no SHA-256")
    found = bytes(tensors["trunk"].astype(np.uint8)).hex()
    if found != identity.trunk_sha256:
        raise StateError(
            f"the feature buffer belongs to the trunk {found[:12]}..., this bundle's is "
            f"{identity.trunk_sha256[:12]}...; features of another trunk can't be used, "
            "export the buffer again or start a new state"
        )
    scale, zero_point = tensors["scale"], tensors["zero_point"]
    wanted = np.asarray(identity.scale, np.float32), np.asarray(identity.zero_point)
    if not (np.array_equal(scale, wanted[0]) and np.array_equal(zero_point, wanted[1])):
        raise StateError(
            "the feature buffer was stored with another scale and zero point than the bundle's; start a new state"
        )


def buffer_identity(codec: FeatureCodec, trunk_sha256: str) -> BufferIdentity:
    """What this bundle's bytes mean.

    Args:
        codec: of the bundle.
        trunk_sha256: of its ``trunk.onnx``.

    Returns:
        The identity.
    """
    return BufferIdentity(trunk_sha256, codec.shape, codec.scale, codec.zero_point)


def samples_that_fit(limit_bytes: int, identity: BufferIdentity) -> int:
    """How many samples fit into so many bytes, each with its label and rank.

    Args:
        limit_bytes: of the buffer.
        identity: with the size of one feature.

    Returns:
        The number of samples.

    Raises:
        UsageError: when not one fits.
    """
    fitting = limit_bytes // (identity.sample_bytes + 16)
    if fitting < 1:
        raise UsageError(
            f"a buffer of {limit_bytes} bytes holds no feature of {identity.sample_bytes} bytes; allow more"
        )
    return fitting


def quotas(counts: IntArray, limit: int) -> IntArray:
    """How many samples each class may keep.

    Every class gets the same; what a class can't fill goes to the others in equal parts.

    Args:
        counts: samples that each class has, shape ``(rows,)``.
        limit: of all classes together.

    Returns:
        Shape ``(rows,)``, nowhere above ``counts``, their sum at most ``limit``.
    """
    level = 0  # the largest equal share that is not too much
    for step in (1 << bit for bit in reversed(range(int(counts.max(initial=0)).bit_length()))):
        if int(np.minimum(counts, level + step).sum()) <= limit:
            level += step
    granted = np.minimum(counts, level)
    rest = np.flatnonzero(counts > level)[: max(0, limit - int(granted.sum()))]
    granted[rest] += 1
    return granted


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
