"""Packets as Flower's records: the document as JSON, each file as an array of bytes."""

import json

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from lightcl_edge.console.text import Document
from lightcl_edge.files.strict_json import parse_json

_DOCUMENT, _FILES, _JSON = "document", "files", "json"


def packed(document: Document, files: dict[str, bytes]) -> RecordDict:
    arrays = {name: Array("uint8", (len(content),), "bytes", content) for name, content in files.items()}
    return RecordDict({_DOCUMENT: ConfigRecord({_JSON: json.dumps(document)}), _FILES: ArrayRecord(arrays)})


def unpacked(content: RecordDict) -> tuple[Document, dict[str, bytes]]:
    """Raises ValueError for anything that :func:`packed` does not make."""
    try:
        document = parse_json(str(content.config_records[_DOCUMENT][_JSON]).encode())
        files = {name: array.data for name, array in content.array_records[_FILES].items()}
    except KeyError as error:
        raise ValueError(f"the message has no {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"the message holds {type(document).__name__}, expected an object")
    return document, files
