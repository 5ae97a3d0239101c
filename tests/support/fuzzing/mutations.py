"""Changes of good input: of bytes, of JSON documents, of tensors."""

from __future__ import annotations

import random

import numpy as np

_INTERESTING = [0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]
_WORDS = [b"..", b"/", b"\\", b"\0", b"NaN", b"1e999", b"-1", b"9" * 400, b"[" * 2000, b'"\\ud800"', b"null", b"{}"]


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to eight changes: bits, bytes, numbers of every width, pieces cut, doubled, moved, or of another input."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, kind = rng.randrange(len(changed) + 1), rng.randrange(9)
        length = min(len(changed) - at, rng.choice((1, 2, 4, 8, 16, 64, 512)))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 2:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(_INTERESTING) % 2 ** (8 * width)
            changed[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            changed[at:at] = rng.choice(_WORDS)
        elif kind == 6:
            del changed[at:]
        elif kind == 7:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            changed[at : at + length] = other[start : start + rng.choice((4, 64, 1024))]
        else:
            changed[at : at + length] = rng.randbytes(length)
        if not changed:
            changed = bytearray(rng.randbytes(3))
    return bytes(changed)


def mutate_json(value: object, rng: random.Random) -> object:
    """One value somewhere in a JSON document becomes another, or is dropped, or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        changed = dict(value)
        if rng.random() < 0.05:
            del changed[key]
        else:
            changed[key] = mutate_json(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], mutate_json(value[at], rng), *value[at + rng.choice((0, 1, 1, 1)) :]]
    odd = [None, True, -1, 0, 2**31, 2**63, 10**400, 1.5, -0.0, 1e308, "", "..", "\ud800", "a\0b", "x" * 5000, [], {}]
    return rng.choice([*odd, [2**20] * 9, [[[]]], {"a": 1}])


def mutate_tensors(tensors: dict[str, np.ndarray], rng: random.Random) -> dict[str, np.ndarray]:
    """One to three changes of what a safetensors file means: names, types, shapes, lengths, values."""
    changed = {name: np.array(tensor) for name, tensor in tensors.items()}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not changed:
            break
        name, kind = rng.choice(sorted(changed)), rng.randrange(9)
        tensor = changed[name]
        if kind == 0:
            del changed[name]
        elif kind == 1:
            changed[rng.choice([name + "x", "slda:mask/relu", "lightcl:logits", "ncm:means", "", ":"])] = tensor
        elif kind == 2:
            with np.errstate(all="ignore"):
                changed[name] = tensor.astype(rng.choice(["<f4", "<f8", "<i8", "<i4", "|u1", "|b1", "<f2"]))
        elif kind == 3:
            first = tensor.reshape(-1)[0] if tensor.size else np.float32(1)
            changed[name] = rng.choice([tensor[None], tensor.reshape(-1), np.array(first), tensor.T])
        elif kind == 4 and tensor.ndim:
            changed[name] = tensor[: rng.randrange(len(tensor) + 1)]
        elif kind == 5 and tensor.ndim:
            changed[name] = np.concatenate([tensor, tensor[:1]])
        elif kind == 6:
            changed[name] = changed[rng.choice(sorted(changed))]
        elif tensor.size:
            flat = np.ascontiguousarray(tensor).reshape(-1).copy()
            odd = [np.nan, np.inf, 1e308, -1e30, -1.0, 0.0] if flat.dtype.kind == "f" else [-1, 0, 2**62, -(2**63), 7]
            at = rng.randrange(len(flat))
            with np.errstate(all="ignore"):
                value = np.array(rng.choice(odd)).astype(flat.dtype)
            flat[at : at + rng.choice((1, 1, len(flat)))] = value
            changed[name] = flat.reshape(tensor.shape)
    return changed
