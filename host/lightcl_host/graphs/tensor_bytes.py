"""Tensors as the bytes of a safetensors file."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def tensors_to_bytes(tensors: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The safetensors form of the arrays; equal arrays give equal bytes."""
    from safetensors.numpy import save

    return bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))
