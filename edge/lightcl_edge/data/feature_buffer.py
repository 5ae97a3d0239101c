"""The feature buffer: quantised features of earlier tasks, bounded in bytes, fair to every class.

A buffer holds at most ``limit`` samples. Each class may have ``limit // classes`` of them, and what one class does not
need goes to the others. Each sample has a *rank*. A class that must shrink loses its largest ranks, so that shrinking
needs no second look at the data:

- ``reservoir``: the rank is a random number, drawn once. To keep the smallest ranks is reservoir sampling (Vitter 1985,
  bottom-k form): whatever the order and number of tasks, the samples that stay are a uniform choice.
- ``herding``: the rank is the place in the greedy order of iCaRL (Rebuffi et al. 2017, algorithm 4). The mean of the
  first samples comes as near as it can to the class mean of the features, averaged over space.

On disk a buffer is ``buffer.safetensors`` (``docs/reference/bundle.md``). It names the trunk that made its features. A
buffer of another trunk is refused, because its numbers mean nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import FeatureInfo
from lightcl_edge.console.text import parse_bytes
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.tensors import ByteArray, FloatArray, IntArray, Tensors

#: Two megabytes: 650 features of EfficientNet-Lite0 at 128 pixels.
DEFAULT_BUFFER_BYTES = 2_000_000
FILLS = ("reservoir", "herding")
#: Tensors of ``buffer.safetensors``: those that grow with the samples, and all; see ``docs/reference/bundle.md``.
_SAMPLES: dict[str, Any] = {"features": np.uint8, "labels": np.int64, "ranks": np.float64, "seen": np.int64}
_TENSORS = {*_SAMPLES, "trunk", "scale", "zero_point"}


@dataclass(frozen=True)
class BufferIdentity:
    """What the bytes of a buffer mean: the trunk that made the features, and their uint8 form."""

    trunk_sha256: str
    feature: FeatureInfo

    @property
    def sample_bytes(self) -> int:
        """Size of one stored feature."""
        return int(np.prod(self.feature.shape))


@dataclass(frozen=True)
class FeatureBuffer:
    """Samples of earlier tasks, ordered by class and rank. Never changed: each operation gives a new buffer."""

    identity: BufferIdentity
    features: ByteArray  # shape (n, *feature_shape)
    labels: IntArray  # rows of the classifier, shape (n,)
    ranks: NDArray[np.float64]
    seen: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # samples of each row ever offered

    @classmethod
    def empty(cls, identity: BufferIdentity) -> FeatureBuffer:
        """A buffer that has seen nothing."""
        return cls(identity, np.empty((0, *identity.feature.shape), np.uint8), np.empty(0, np.int64), np.empty(0))

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, positions: IntArray) -> FloatArray:
        """Float features at some positions, shape ``(len(positions), *feature_shape)``."""
        return FeatureCodec(self.identity.feature).decode(self.features[positions])

    @property
    def bytes(self) -> int:
        """Size of samples, labels, ranks and counts."""
        return self.bytes_of({name: getattr(self, name) for name in _SAMPLES})

    @staticmethod
    def bytes_of(tensors: Tensors) -> int:
        return sum(int(tensors[name].nbytes) for name in _SAMPLES if name in tensors)

    def forget(self, row: int) -> FeatureBuffer:
        """The buffer without the class of a row. The rows above it move one down."""
        keep = self.labels != row
        labels = self.labels[keep]
        seen = np.delete(self.seen, row) if row < len(self.seen) else self.seen
        return replace(
            self, features=self.features[keep], labels=labels - (labels > row), ranks=self.ranks[keep], seen=seen
        )

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The content of ``buffer.safetensors``."""
        return {name: getattr(self, name) for name in _SAMPLES} | {
            "trunk": np.frombuffer(bytes.fromhex(self.identity.trunk_sha256), np.uint8),
            "scale": np.asarray(self.identity.feature.scale, np.float32),
            "zero_point": np.asarray(self.identity.feature.zero_point, np.int64),
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, identity: BufferIdentity) -> FeatureBuffer:
        """Read ``buffer.safetensors``; no tensors give an empty buffer.

        Raises StateError when it belongs to another trunk or its tensors do not fit each other.
        """
        if not tensors:
            return cls.empty(identity)
        if set(tensors) != _TENSORS:
            raise StateError(f"buffer.safetensors holds {sorted(tensors)}, expected {sorted(_TENSORS)}")
        _check_identity(tensors, identity)
        features, labels, ranks, seen = (tensors[name] for name in _SAMPLES)
        count, shape = labels.size, identity.feature.shape
        fits = all(tensors[name].dtype == kind for name, kind in _SAMPLES.items())
        fits = fits and features.shape == (count, *shape) and ranks.shape == labels.shape == (count,) and seen.ndim == 1
        if not fits or (count and not 0 <= int(labels.min()) <= int(labels.max()) < len(seen)):
            raise StateError(
                f"buffer.safetensors: features {features.dtype} {features.shape}, labels {labels.dtype} "
                f"{labels.shape}, ranks {ranks.dtype} {ranks.shape}, seen {seen.dtype} {seen.shape} do not fit; "
                f"expected uint8 (n, *{tuple(shape)}), a label below the length of seen and a rank each"
            )
        buffer = cls(identity, **{name: tensors[name].astype(kind, copy=False) for name, kind in _SAMPLES.items()})
        if not (np.isfinite(buffer.ranks).all() and ((buffer.seen >= 0) & (buffer.seen < 2**53)).all()):
            raise StateError("buffer.safetensors: ranks or seen hold NaN, infinity or no counts; expected numbers")
        return buffer


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
    wanted = np.asarray(identity.feature.scale, np.float32), np.asarray(identity.feature.zero_point)
    if not (np.array_equal(scale, wanted[0]) and np.array_equal(zero_point, wanted[1])):
        raise StateError(
            "the feature buffer was stored with another scale and zero point than the bundle's; start a new state"
        )


def samples_that_fit(limit_bytes: int, identity: BufferIdentity) -> int:
    """How many samples fit into ``limit_bytes``, each with its label and rank. UsageError when none fits."""
    fitting = limit_bytes // (identity.sample_bytes + 16)
    if fitting < 1:
        raise UsageError(
            f"a buffer of {limit_bytes} bytes holds no feature of {identity.sample_bytes} bytes; allow more"
        )
    return fitting


def quotas(counts: IntArray, limit: int) -> IntArray:
    """How many samples each class may keep, shape ``(rows,)``, of those it has (``counts``); at most ``limit`` in all.

    All classes get the same; what a class can't fill goes to the others.
    """
    level = 0  # the largest equal share that is not too much
    for step in (1 << bit for bit in reversed(range(int(counts.max(initial=0)).bit_length()))):
        if int(np.minimum(counts, level + step).sum()) <= limit:
            level += step
    granted = np.minimum(counts, level)
    rest = np.flatnonzero(counts > level)[: max(0, limit - int(granted.sum()))]
    granted[rest] += 1
    return granted


def buffer_limit(text: str | None, identity: BufferIdentity) -> int:
    """How many samples the buffer may hold; 0 for no buffer.

    ``text`` is a number of samples (``500``), a size (``2MB``), or None for ``DEFAULT_BUFFER_BYTES``. Raises UsageError
    when it is neither, or no sample fits.
    """
    if text is None:
        return samples_that_fit(DEFAULT_BUFFER_BYTES, identity)
    if text.strip().isdecimal():
        return int(text)
    if not text.strip()[:1].isdecimal():
        raise UsageError(f"--buffer-size {text!r}; expected a number of samples, such as 500, or a size, such as 2MB")
    return samples_that_fit(parse_bytes(text), identity)
