"""The bundle's ``manifest.json`` as typed records, read strictly. The format is in ``docs/bundle.md``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.errors import BundleError, DuplicateNameError, HugeHeaderError
from lightcl_edge.files.strict_json import RepeatedKeyError, parse_json

MANIFEST = "manifest.json"
FORMAT = "lightcl-bundle"
FORMAT_VERSION = (1, 1)
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_FILES = 256
MAX_CLASSES = 4096
MAX_NAME_LENGTH = 200

_LARGEST = 1e300

#: Fields that bundles of an earlier minor version lack.
_LATER = {"may be missing": True}
PROVIDERS = ("tensorrt", "cuda", "cpu")

RecordT = TypeVar("RecordT")


@dataclass(frozen=True)
class ModelInfo:
    """Where the graphs come from.

    Attributes:
        name: the model specification on the host (``efficientnet_lite0``, ``timm:NAME``, a file's name).
        weights: ``default``, ``none`` or the name of the weights file.
        cut: the module path the cut is named by.
        trunk_dtype: ``fp32``, ``fp16`` or ``int8``.
        opset: ONNX opset of all graphs.
        minimum_onnxruntime: the oldest onnxruntime that runs them.
    """

    name: str
    weights: str
    cut: str
    trunk_dtype: str
    opset: int
    minimum_onnxruntime: str


@dataclass(frozen=True)
class InputInfo:
    """How an image becomes the trunk's input ``image``, float32 ``(n, 3, height, width)``.

    Attributes:
        height: in pixels.
        width: in pixels.
        resize: ``stretch`` (both sides to the input size) or ``crop`` (shorter side, then centre crop).
        crop_ratio: for ``crop``: input size / resized shorter side (0.875 for 224 of 256).
        interpolation: ``bilinear``, ``bicubic`` or ``nearest``.
        mean: subtracted from pixels in 0..1, a number per channel.
        std: divided by afterwards, a number per channel.
        channel_order: ``RGB`` or ``BGR``.
    """

    height: int
    width: int
    resize: str
    crop_ratio: float
    interpolation: str
    mean: list[float]
    std: list[float]
    channel_order: str


@dataclass(frozen=True)
class FeatureInfo:
    """The trunk's output ``features`` and its uint8 form: ``real = (stored - zero_point) * scale``.

    Attributes:
        shape: of one image's feature, without the batch axis.
        scale: one number, or one a channel (axis 0 of ``shape``).
        zero_point: 0..255, as many as ``scale``.
    """

    shape: list[int]
    scale: list[float]
    zero_point: list[int]


@dataclass(frozen=True)
class ParameterInfo:
    """A trained tensor of the head.

    Attributes:
        name: its initialiser's name in ``head.onnx`` and key in ``head.safetensors``.
        shape: its shape.
    """

    name: str
    shape: list[int]


@dataclass(frozen=True)
class HeadInfo:
    """The graph that the device trains: input ``features``, outputs ``logits``, ``penultimate``, patterns.

    Attributes:
        capacity: rows of the classifier, which is ``classifier.weight`` and ``classifier.bias``.
        penultimate_size: width of the classifier's input.
        operators: operator types that occur in the graph.
        parameters: all trained tensors.
        patterns: names of the activations that LightCL holds, in graph order, ``logits`` last.
        taps_first: kernels of which the step graphs take each tap as an input of its own; a device holds them as
            ``(rows * columns, filters, channels)``.
    """

    capacity: int
    penultimate_size: int
    operators: list[str]
    parameters: list[ParameterInfo]
    patterns: list[str]
    taps_first: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StepGraph:
    """One training-step graph of the ``ort`` engine.

    Attributes:
        path: inside the bundle.
        update: ``in_place``, ``accumulate``, or ``forward`` for the head without a step.
        samples: rows of new samples it takes; 0 in ``forward``, which takes any number.
        buffered_samples: rows of buffered samples with pattern targets; 0 for none.
        peak_bytes: largest sum of live tensors during a run, beyond inputs and outputs; 0 in ``forward``.
    """

    path: str
    update: str
    samples: int
    buffered_samples: int
    peak_bytes: int


@dataclass(frozen=True)
class CostInfo:
    """What the host counted from the graphs, in bytes and multiply-adds, for the device's plan.

    Attributes:
        trunk_parameter_bytes: of the exported trunk.
        trunk_peak_activation_bytes: largest sum of live activations, for one image.
        trunk_multiply_adds: for one image.
        head_parameter_bytes: float32.
        head_activation_bytes: sum of all activations of the head, for one sample.
        head_largest_activation_bytes: of one sample.
        head_multiply_adds: forward, for one sample.
        head_pattern_bytes: of one sample's pattern tensors.
    """

    trunk_parameter_bytes: int
    trunk_peak_activation_bytes: int
    trunk_multiply_adds: int
    head_parameter_bytes: int
    head_activation_bytes: int
    head_largest_activation_bytes: int
    head_multiply_adds: int
    head_pattern_bytes: int


@dataclass(frozen=True)
class GoldenInfo:
    """How far this device may drift from the host on ``golden.safetensors``.

    Attributes:
        count: how many images.
        feature_tolerance: largest allowed root mean square difference over root mean square.
        logit_tolerance: the same for logits.
    """

    count: int
    feature_tolerance: float
    logit_tolerance: float


@dataclass(frozen=True)
class TrainingDefaults:
    """What ``train`` uses when the command line says nothing.

    The numbers belong to the strategy that is named; other strategies have their own
    (``lightcl_edge.learning.strategies.choice``). With ``auto`` they are those of ``lightcl``. The paper trains with
    learning rate 0.01 and beta 0.0002 on a head whose BatchNorm is in training mode; with BatchNorm folded those steps
    are too large. How the defaults were chosen is in ``docs/results-learning.md``.

    Attributes:
        strategy: its name, or ``auto``.
        epochs: passes over a task's features.
        batch_size: samples a step.
        learning_rate: of plain SGD.
        beta: weight of the pattern term.
        ratio: share of channels held a task.
        buffer_samples: how many samples carry patterns.
    """

    strategy: str = "auto"
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 0.0001
    beta: float = 0.00005
    ratio: float = 0.15
    buffer_samples: int = 15


@dataclass(frozen=True)
class FileInfo:
    """A file of the bundle.

    Attributes:
        path: relative, with ``/``, never ``..``.
        bytes: its size.
        sha256: of its content, lower-case hexadecimal.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All of ``manifest.json``.

    Attributes:
        model: where the graphs come from.
        input: how an image becomes the trunk's input.
        feature: the trunk's output.
        head: the trained graph.
        golden: allowed drift.
        cost: figures for the plan.
        defaults: of training.
        classes: names of the classifier's first rows; empty for a bundle that starts with none.
        training_step: graphs of the ``ort`` engine.
        provenance: who made it from what (free keys, text or numbers).
        files: every other file of the bundle.
        providers: what is to compute the trunk on the device it was exported for, in this order (``tensorrt``,
            ``cuda``, ``cpu``); empty for no wish. Since format 1.1.
        format: always ``lightcl-bundle``.
        format_version: major and minor; a newer major is refused.
    """

    model: ModelInfo
    input: InputInfo
    feature: FeatureInfo
    head: HeadInfo
    golden: GoldenInfo
    cost: CostInfo
    defaults: TrainingDefaults = field(default_factory=TrainingDefaults)
    classes: list[str] = field(default_factory=list)
    training_step: list[StepGraph] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    files: list[FileInfo] = field(default_factory=list)
    providers: list[str] = field(default_factory=list, metadata=_LATER)
    format: str = FORMAT
    format_version: list[int] = field(default_factory=lambda: list(FORMAT_VERSION))

    def to_json(self) -> bytes:
        """The manifest as it stands in the bundle: UTF-8, sorted keys, so that equal is equal."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _wrong(where: str, value: object, expected: str) -> BundleError:
    return BundleError(f"manifest.json: {where} is {ascii(value)[:80]}, expected {expected}")


def _read_value(kind: Any, value: Any, where: str) -> Any:
    """Check one JSON value against a field's type."""
    origin = getattr(kind, "__origin__", None)
    if origin is list:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        return [_read_value(kind.__args__[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        return value
    if hasattr(kind, "__dataclass_fields__"):
        return _read_record(kind, value, where)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < _LARGEST:  # NaN is not either, and an integer of any length compares
            raise _wrong(where, value, "a finite number")
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        if not abs(value) < 2**63:
            raise _wrong(where, f"a number of {value.bit_length()} bits", "a number of at most 63 bits")
        return value
    if kind is str and isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _wrong(where, ascii(value[:80]), "text that UTF-8 can carry")
        return value
    raise _wrong(where, value, f"a value of type {kind.__name__}")


def _read_record(kind: type[RecordT], value: Any, where: str) -> RecordT:
    """Build one record; unknown keys are allowed (a newer minor version), missing ones are not."""
    if not isinstance(value, Mapping):
        raise _wrong(where, value, "an object")
    hints = get_type_hints(kind)
    read: dict[str, Any] = {}
    for entry in fields(kind):  # type: ignore[arg-type]  # RecordT is always one of the dataclasses above
        if entry.name not in value and entry.metadata == _LATER:
            continue
        if entry.name not in value:
            raise BundleError(f"manifest.json: {where} lacks {entry.name!r}; the bundle is not complete")
        read[entry.name] = _read_value(hints[entry.name], value[entry.name], f"{where}.{entry.name}")
    return kind(**read)


def parse_manifest(data: bytes) -> Manifest:
    """Read ``manifest.json``.

    Args:
        data: the file's bytes.

    Returns:
        The manifest, its values checked against each other.

    Raises:
        BundleError: naming the value found and what was expected.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise HugeHeaderError(f"manifest.json has {len(data)} bytes, expected at most {MAX_MANIFEST_BYTES}")
    try:
        value = parse_json(data)
    except RepeatedKeyError as error:
        raise DuplicateNameError(f"manifest.json {error}; export the bundle again") from error
    except ValueError as error:
        raise BundleError(f"manifest.json is not JSON: {error}; export the bundle again") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise _wrong("format", found, repr(FORMAT))
    version = _read_value(list[int], value.get("format_version"), "format_version")
    if len(version) != 2 or version[0] != FORMAT_VERSION[0]:
        raise _wrong("format_version", version, f"{FORMAT_VERSION[0]}.x; install a matching lightcl-edge")
    manifest = _read_record(Manifest, value, "manifest")
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    """Refuse values that do not fit each other."""
    shape, feature, head = manifest.feature.shape, manifest.feature, manifest.head
    if not 1 <= len(shape) <= 8 or any(side < 1 for side in shape) or math.prod(shape) > 2**26:
        raise _wrong("feature.shape", shape, "positive sides, at most 67,108,864 values in all")
    if len(feature.scale) not in (1, shape[0]) or len(feature.scale) != len(feature.zero_point):
        raise _wrong("feature.scale", len(feature.scale), f"1 or {shape[0]} numbers, as many as zero_point")
    if min(feature.scale) <= 0 or not all(0 <= point <= 255 for point in feature.zero_point):
        raise _wrong("feature.scale", feature.scale, "positive scales and zero points in 0..255")
    if not 1 <= head.capacity <= MAX_CLASSES:
        raise _wrong("head.capacity", head.capacity, f"1 to {MAX_CLASSES}")
    if len(manifest.classes) > head.capacity or len(set(manifest.classes)) < len(manifest.classes):
        raise _wrong("classes", manifest.classes, f"at most {head.capacity} different names")
    if any(not name or len(name) > MAX_NAME_LENGTH for name in manifest.classes):
        raise _wrong("classes", "a class name", f"1 to {MAX_NAME_LENGTH} characters")
    _check_parameters(head)
    sizes = (manifest.input.height, manifest.input.width)
    if not all(1 <= side <= 4096 for side in sizes):
        raise _wrong("input", sizes, "sides of 1 to 4096 pixels")
    if len(manifest.input.mean) != 3 or len(manifest.input.std) != 3 or min(manifest.input.std) <= 0:
        raise _wrong("input.mean and input.std", manifest.input.std, "three numbers each, std above 0")
    if len(manifest.providers) > len(PROVIDERS) or not set(manifest.providers) <= set(PROVIDERS):
        raise _wrong("providers", manifest.providers, f"some of {', '.join(PROVIDERS)}")
    if len(manifest.files) > MAX_FILES:
        raise _wrong("files", len(manifest.files), f"at most {MAX_FILES}")


def _check_parameters(head: HeadInfo) -> None:
    shapes = {parameter.name: parameter.shape for parameter in head.parameters}
    expected = {
        WEIGHT: [head.capacity, head.penultimate_size],
        BIAS: [head.capacity],
    }
    for name, wanted in expected.items():
        if shapes.get(name) != wanted:
            raise _wrong(f"head.parameters {name}", shapes.get(name), str(wanted))
    if any(len(shapes.get(name, [])) != 4 for name in head.taps_first):
        raise _wrong("head.taps_first", head.taps_first, "names of parameters with four sides")
