"""Advice for files that are a network, but not one that can be read as it is."""

from pathlib import Path

from lightcl_edge.errors import UsageError

_WEIGHTS = "these are weights: name the network with --model timm:NAME or torchvision:NAME and add --weights {path}"
_ADVICE = {
    **dict.fromkeys((".pt", ".pth", ".tar", ".ckpt", ".bin", ".safetensors"), _WEIGHTS),
    ".pt2": "export the program to ONNX: torch.onnx.export(torch.export.load(path).module(), example, 'model.onnx')",
    ".h5": "convert it to ONNX: keras.models.load_model(path).export('model.onnx', format='onnx')",
    ".keras": "convert it to ONNX: keras.models.load_model(path).export('model.onnx', format='onnx')",
    ".tflite": "convert it to ONNX: python -m tf2onnx.convert --tflite {path} --output model.onnx",
    ".pb": "convert it to ONNX: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
    ".engine": "TensorRT engines can't be taken apart: give the .onnx file that it was made from",
    ".ort": "give the .onnx file that it was made from",
}


def check_file_kind(model: str) -> None:
    """Refuse a ``--model`` that is a file of another kind, with a UsageError that says how to use it."""
    path = Path(model)
    advice = _ADVICE.get(path.suffix.lower())
    if path.is_dir():
        advice = "a folder is no network; a TensorFlow SavedModel becomes one: python -m tf2onnx.convert --saved-model"
    if advice is None or ":" in model:
        return
    if not path.exists():
        raise UsageError(f"no model at {model}; expected a name such as timm:NAME, or a path ending in .onnx")
    raise UsageError(f"--model {model} is no .onnx file; {advice.format(path=model)}")
