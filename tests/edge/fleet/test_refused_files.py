"""Knowledge of a board that lies, or that is damaged on its way: refused, named, and the others are taken."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from lightcl_edge.bundle.signature import make_key_pair, read_private_key, read_public_key
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import DataError, LightclError, MixedBundleError, SignatureError
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.fleet.knowledge import Knowledge
from lightcl_edge.fleet.recorded_file import RECORD, SIGNATURE, hash_of, write_recorded
from lightcl_edge.fleet.share import shared
from lightcl_edge.state.board import Board
from lightcl_edge.state.sums_files import class_hash

SIZE, NETWORK = 6, "a" * 64
CAT = class_hash("cat")


def parts(count=9):
    random = np.random.default_rng(count)
    rows = random.normal(size=(count, SIZE))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, record, tensors = shared(Board("liar"), Sums(SIZE).add("cat", rows.astype(np.float32)), NETWORK)
    return record, tensors


def write(path, record, tensors, **changed):
    """A file whose record has the right hashes of whatever its tensors are."""
    tensors = {**tensors, **changed}
    hashes = {name: hash_of(tensor) for name, tensor in tensors.items()}
    write_recorded(path, replace(record, tensors=hashes), tensors, None)
    return path


def refusal(path, key=None):
    with pytest.raises(LightclError) as found:
        Knowledge(path).check(NETWORK, SIZE, key)
    return found.value


LIES = {
    "NaN": (9, "total", np.full(SIZE, np.nan), "NaN"),
    "a huge total": (9, "total", np.full(SIZE, 50.0), "larger than 9 samples can have"),
    "a huge scatter": (9, "triangle", np.full(21, 1e6, np.float32), "larger than 9 samples can have"),
    "a huge count": (9, "count", np.array([2**40]), "expected 9"),
    "a negative variance": (9, "triangle", np.full(21, -1.0, np.float32), "negative variance"),
    "a wrong shape": (9, "total", np.zeros(SIZE + 1), "expected float64"),
    "NaN in samples": (3, "values", np.full((3, SIZE), np.nan, np.float16), "NaN"),
    "huge samples": (3, "values", np.full((3, SIZE), 9, np.float16), "above 1.01"),
    "more samples": (3, "values", np.zeros((4, SIZE), np.float16), "expected 3"),
}


@pytest.mark.parametrize("lie", LIES)
def test_sums_that_no_samples_have(tmp_path, lie):
    count, part, tensor, message = LIES[lie]
    found = refusal(write(tmp_path / "k", *parts(count), **{f"{CAT}.{part}": tensor}))
    assert isinstance(found, DataError) and message in str(found) and "'cat'" in str(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"board": "../etc"}, "board"),
        ({"version": 0}, "version"),
        ({"images": {"cat": 10**9}}, "images"),
        ({"images": {"c\x1bat": 9}}, "names"),
        ({"erased": {"cat": 1}}, "erased"),
        ({"erased": {CAT: 10**12}}, "erased"),
    ],
)
def test_records_that_no_board_writes(tmp_path, change, message):
    record, tensors = parts()
    text = json.dumps({**asdict(record), **change}).encode()
    write_tensors(tmp_path / "k", {**tensors, RECORD: np.frombuffer(text, np.uint8)})
    found = refusal(tmp_path / "k")
    assert isinstance(found, DataError) and message in str(found)


def test_another_network_and_changed_bytes(tmp_path):
    record, tensors = parts()
    assert isinstance(refusal(write(tmp_path / "other", replace(record, network="b" * 64), tensors)), MixedBundleError)
    write_recorded(tmp_path / "k", record, {**tensors, f"{CAT}.total": tensors[f"{CAT}.total"] * 0.5}, None)
    assert "hash" in str(refusal(tmp_path / "k"))
    assert "differ" in str(refusal(write(tmp_path / "more", record, tensors, stranger=np.zeros(1))))
    (tmp_path / "bytes").write_bytes(b"nonsense")
    refusal(tmp_path / "bytes")
    refusal(tmp_path / "missing")


def test_signatures(tmp_path):
    record, tensors = parts()
    for name in ("fleet", "stranger"):
        make_key_pair(tmp_path / name)
    key, public = read_private_key(tmp_path / "fleet.key"), read_public_key(tmp_path / "fleet.pub")
    signed = tmp_path / "signed"
    write_recorded(signed, record, tensors, key)
    Knowledge(signed).check(NETWORK, SIZE, public)
    write_recorded(tmp_path / "plain", record, tensors, None)
    assert "not signed" in str(refusal(tmp_path / "plain", public))
    assert isinstance(refusal(signed, read_public_key(tmp_path / "stranger.pub")), SignatureError)
    content = read_tensors(signed, DataError)
    text = json.dumps({**json.loads(content[RECORD].tobytes()), "version": 7}).encode()
    write_tensors(tmp_path / "forged", {**content, RECORD: np.frombuffer(text, np.uint8)})
    assert SIGNATURE in content and "does not belong" in str(refusal(tmp_path / "forged", public))
