"""Does an ONNX file keep all its tensors inside itself? Answered without the onnx package.

Field numbers are those of ``onnx.proto``: ModelProto.graph = 7, .functions = 25; GraphProto.node = 1,
.initializer = 5, .sparse_initializer = 15; NodeProto.attribute = 5; AttributeProto.t = 5, .g = 6, .tensors = 10,
.graphs = 11, .sparse_tensor = 22, .sparse_tensors = 23; SparseTensorProto.values = 1, .indices = 2;
TensorProto.external_data = 13, .data_location = 14; FunctionProto.node = 7, .attribute_proto = 11.
"""

import mmap
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from lightcl_edge.errors import BundleError, ExternalDataError
from lightcl_edge.files.protobuf import fields

_MAX_DEPTH = 32
#: message kind -> field number -> kind of the message in it
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
#: The key under which ``external_data`` names its file. No file without these bytes has to be parsed.
_KEY, _CHUNK_BYTES = b"location", 2**20
#: The kernel maps up to 2 MiB around the start of each tensor that is passed over. Pages of larger tensors are let go.
_LARGE_TENSOR_BYTES = 2**16


def refuse_external_data(paths: Iterable[Path]) -> None:
    """Raise an ExternalDataError when a tensor of an ONNX file lies in another file."""
    for path in filter(_has_the_key, paths):
        try:
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
                memoryview(data) as view,
            ):
                external = _has_external_data(view, "model", 0, partial(_let_go, data))
        except ValueError as error:
            raise BundleError(f"{path.name} is not a readable ONNX file ({error}); export the bundle again") from error
        if external:
            raise ExternalDataError(
                f"{path.name} keeps tensor data in another file (external data); export it with all data inside"
            )


def _has_the_key(path: Path) -> bool:
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if _KEY in before + chunk:
                return True
            before = chunk[-len(_KEY) :]
    return False


def _let_go(data: mmap.mmap) -> None:
    """Unmap the pages of a mapped file; they are read again when they are needed."""
    if hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED)


def _has_external_data(data: memoryview, kind: str, depth: int, let_go: Callable[[], None]) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} messages")
    found = False
    for number, value, content, _ in fields(data):
        with content:  # a view left open would keep the file mapped
            if kind == "tensor":
                found = found or number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
            elif number in _MESSAGES[kind]:
                found = _has_external_data(content, _MESSAGES[kind][number], depth + 1, let_go) or found
    if kind == "tensor" and len(data) >= _LARGE_TENSOR_BYTES:
        let_go()
    return found
