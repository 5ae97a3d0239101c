"""The module of the original network that a node comes from, as exporters record it.

The dynamo exporter writes the path of every enclosing module into the node's metadata; the older one puts it
into node names: ``/layer3/layer3.1/relu/Relu`` is in ``layer3``, ``layer3.1`` and ``layer3.1.relu``.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_DYNAMO_KEY = "pkg.torch.onnx.name_scopes"
_OWN_KEY = "lightcl.module_path"
_OUTPUT_SUFFIX = "_output_0"


def remember_module_path(node: onnx.NodeProto) -> None:
    """Replace all of the node's metadata by its innermost module path."""
    path = _from_dynamo(node) or _from_name(node)
    copy_module_path(path, node)
    node.doc_string = ""


def copy_module_path(path: str, node: onnx.NodeProto) -> None:
    """Write a module path onto a node that replaces others."""
    del node.metadata_props[:]
    if path:
        entry = node.metadata_props.add()
        entry.key, entry.value = _OWN_KEY, path


def copy_scopes(source: onnx.NodeProto, target: onnx.NodeProto) -> None:
    """Let a node that replaces another keep the exporter's notes about where it comes from."""
    target.metadata_props.extend(source.metadata_props)
    target.name = f"{source.name}/{target.op_type}" if source.name else ""


def module_path(node: onnx.NodeProto) -> str:
    """The innermost module of the node; ``""`` for the network itself or when it is unknown."""
    return next((entry.value for entry in node.metadata_props if entry.key == _OWN_KEY), "")


def enclosing_paths(path: str) -> list[str]:
    """The path and all paths that enclose it: ``a.b.c`` gives ``a``, ``a.b``, ``a.b.c``."""
    parts = path.split(".") if path else []
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _from_dynamo(node: onnx.NodeProto) -> str:
    """The last scope is the operation itself, the one before it the innermost module."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _DYNAMO_KEY), "")
    if not text:
        return ""
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ""
    return str(scopes[-2]) if isinstance(scopes, list) and len(scopes) >= 2 else ""


def _from_name(node: onnx.NodeProto) -> str:
    """Fused nodes lose their names but keep an output's name, which the older exporter makes from the node's."""
    candidates = [node.name, *(output.removesuffix(_OUTPUT_SUFFIX) for output in node.output)]
    text = next((candidate for candidate in candidates if candidate.startswith("/")), "")
    path = ""
    previous = ""
    for part in text.split("/")[1:-1]:
        inside = part.removeprefix(previous + ".") if previous and part.startswith(previous + ".") else part
        path = f"{path}.{inside}" if path else inside
        previous = part
    return path
