"""The bundle's ``manifest.json`` as typed records, read strictly. The format is in ``docs/reference/bundle.md``."""

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Annotated, Any

from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.errors import BundleError, DuplicateNameError, HugeHeaderError
from lightcl_edge.files.records import DIFFERENT, POSITIVE, Check, between, read_record
from lightcl_edge.files.strict_json import RepeatedKeyError, parse_json

MANIFEST = "manifest.json"
FORMAT = "lightcl-bundle"
FORMAT_VERSION = (2, 0)
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_FILES = 256
MAX_CLASSES = 4096
MAX_NAME_LENGTH = 200

_OLDER, _NEWER = "export it again with a newer lightcl-host", "install a matching lightcl-edge"

PROVIDERS = ("tensorrt", "cuda", "cpu")

PositiveFloat = Annotated[float, POSITIVE]
Side = Annotated[int, between(1, 4096)]
CHANNELS = Check(lambda numbers: len(numbers) == 3, "three numbers")
FEW_FILES = Check(lambda files: len(files) <= MAX_FILES, f"at most {MAX_FILES} files")
SOME = Check(lambda values: len(values) > 0, "one or more")
KNOWN_PROVIDERS = Check(lambda names: set(names) <= set(PROVIDERS), f"some of {', '.join(PROVIDERS)}")
Shape = Annotated[
    list[int],
    Check(
        lambda sides: 1 <= len(sides) <= 8 and min(sides) >= 1 and math.prod(sides) <= 2**26,
        "1 to 8 positive sides, at most 67,108,864 values in all",
    ),
]
ClassName = Annotated[
    str, Check(lambda name: 1 <= len(name) <= MAX_NAME_LENGTH, f"a name of 1 to {MAX_NAME_LENGTH} characters")
]


@dataclass(frozen=True)
class ModelInfo:
    """Where the graphs come from."""

    name: str  # the model specification on the host: efficientnet_lite0, timm:NAME, a file's name
    weights: str  # default, none or the name of the weights file
    cut: str  # path of the module where the network is cut
    trunk_dtype: str  # fp32, fp16 or int8
    opset: int  # ONNX opset of all graphs
    minimum_onnxruntime: str


@dataclass(frozen=True)
class InputInfo:
    """How an image becomes the trunk's input ``image``, float32 ``(n, 3, height, width)``.

    Pixels in 0..1 become ``(pixel - mean) / std``, with a number for each channel.
    """

    height: Side
    width: Side
    resize: str  # stretch (both sides to the input size) or crop (the shorter side, then the centre is cut out)
    crop_ratio: float  # input size / resized shorter side: 0.875 for 224 of 256
    interpolation: str  # bilinear, bicubic or nearest
    mean: Annotated[list[float], CHANNELS]
    std: Annotated[list[PositiveFloat], CHANNELS]
    channel_order: str  # RGB or BGR


@dataclass(frozen=True)
class FeatureInfo:
    """The trunk's output ``features`` and its uint8 form: ``real = (stored - zero_point) * scale``.

    ``scale`` and ``zero_point`` have one number, or one for each channel.
    """

    shape: Shape  # of one image's feature, without the batch axis
    scale: list[PositiveFloat]
    zero_point: list[Annotated[int, between(0, 255)]]
    channel_axis: Annotated[int, between(0, 2)] = 0  # of ``shape``; the last one for tokens


@dataclass(frozen=True)
class ParameterInfo:
    """A trained tensor of the head: its initialiser in ``head.onnx`` and key in ``head.safetensors``."""

    name: str
    shape: list[int]


@dataclass(frozen=True)
class TapInfo:
    """A part of the head's output ``taps``: one place's activations, pooled and divided by their length."""

    name: str  # the module that ends there, features or penultimate
    size: Annotated[int, between(1, 2**20)]  # numbers of one sample


@dataclass(frozen=True)
class HeadInfo:
    """The graph that the device trains: input ``features``, outputs ``logits``, ``penultimate``, patterns, ``taps``."""

    capacity: Annotated[int, between(1, MAX_CLASSES)]  # rows of the classifier
    penultimate_size: int  # width of the classifier's input
    operators: list[str]  # operator types that occur in the graph
    parameters: list[ParameterInfo]
    patterns: list[str]  # activations that LightCL holds, in graph order, logits last
    taps: Annotated[list[TapInfo], SOME]  # the parts of ``taps``, side by side in this order
    #: Kernels of which each position is an input of the step graphs. A device holds them as (positions, filters,
    #: channels).
    positions_first: list[str] = field(default_factory=list)

    @cached_property
    def tap_size(self) -> int:
        """Numbers of one sample in ``taps``."""
        return sum(tap.size for tap in self.taps)


@dataclass(frozen=True)
class StepGraph:
    """One training-step graph of the ``ort`` engine, or one of the head without a step (``forward``)."""

    path: str  # inside the bundle
    update: str  # in_place, accumulate or forward
    samples: int  # rows of new samples it takes; 0 in forward, which takes any number
    buffered_samples: int  # rows of buffered samples with pattern targets
    peak_bytes: int  # largest sum of live tensors, beyond inputs and outputs; 0 in forward


@dataclass(frozen=True)
class CostInfo:
    """What the host counted from the graphs, in bytes and multiply-adds, for the device's plan."""

    trunk_parameter_bytes: int
    trunk_peak_activation_bytes: int  # largest sum of live activations, for one image
    trunk_multiply_adds: int  # for one image
    head_parameter_bytes: int  # float32
    head_activation_bytes: int  # all activations of the head, for one sample
    head_largest_activation_bytes: int  # of one sample
    head_multiply_adds: int  # forward, for one sample
    head_pattern_bytes: int  # of one sample's pattern tensors


@dataclass(frozen=True)
class GoldenInfo:
    """How far a device may drift from the host on ``golden.safetensors``.

    A tolerance is the largest root mean square of the difference over the root mean square of the host's values.
    """

    count: int  # images
    feature_tolerance: float
    logit_tolerance: float


@dataclass(frozen=True)
class TrainingDefaults:
    """What ``train`` uses when the command line says nothing.

    The numbers belong to the strategy that is named; with ``auto`` they are those of ``lightcl``. The paper trains with
    learning rate 0.01 and beta 0.0002 on a head whose BatchNorm is in training mode. With BatchNorm folded those steps
    are too large. How the defaults were chosen is in ``docs/builders/results-learning.md``.
    """

    strategy: str = "auto"
    epochs: int = 3  # passes over a task's features
    batch_size: int = 32
    learning_rate: float = 0.0001  # of plain SGD
    beta: float = 0.00005  # weight of the pattern term
    ratio: float = 0.15  # share of channels that a task holds
    buffer_samples: int = 15  # how many samples carry patterns


@dataclass(frozen=True)
class FileInfo:
    """A file of the bundle: its relative path, its size, and the SHA-256 of its content in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All of ``manifest.json``.

    ``classes`` names the classifier's first rows. ``providers`` compute the trunk on the device that the bundle was
    exported for, in this order; without any the device chooses. ``provenance`` has free keys, text or numbers.
    """

    model: ModelInfo
    input: InputInfo
    feature: FeatureInfo
    head: HeadInfo
    golden: GoldenInfo
    cost: CostInfo
    defaults: TrainingDefaults = field(default_factory=TrainingDefaults)
    classes: Annotated[list[ClassName], DIFFERENT] = field(default_factory=list)
    training_step: list[StepGraph] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    files: Annotated[list[FileInfo], FEW_FILES] = field(default_factory=list)
    providers: Annotated[list[str], DIFFERENT, KNOWN_PROVIDERS] = field(default_factory=list)
    format: str = FORMAT
    format_version: list[int] = field(default_factory=lambda: list(FORMAT_VERSION))

    def to_json(self) -> bytes:
        """The manifest as it stands in the bundle: UTF-8, sorted keys, so that equal is equal."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


@lru_cache(maxsize=2)  # a running Learner opens its bundle with every picture it learns
def parse_manifest(data: bytes) -> Manifest:
    """Read the bytes of ``manifest.json``. A BundleError names the value found and what was expected."""
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
    version = value.get("format_version")
    if not isinstance(version, list) or len(version) != 2 or version[0] != FORMAT_VERSION[0]:
        older = isinstance(version, list) and version[:1] == [1]
        raise _wrong("format_version", version, f"{FORMAT_VERSION[0]}.x; {_OLDER if older else _NEWER}")
    if isinstance(value.get("feature"), dict):
        value["feature"].setdefault("channel_axis", 0)  # older bundles lack it
    whole = "all keys of a bundle; export it again"
    manifest = read_record(Manifest, value, "manifest.json: manifest", BundleError, whole, complete=True)
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    feature, head = manifest.feature, manifest.head
    if feature.channel_axis >= len(feature.shape):
        raise _wrong("feature.channel_axis", feature.channel_axis, f"an axis of {feature.shape}")
    channels = feature.shape[feature.channel_axis]
    if len(feature.scale) not in (1, channels) or len(feature.scale) != len(feature.zero_point):
        raise _wrong("feature.scale", len(feature.scale), f"1 or {channels} numbers, as many as zero_point")
    if len(manifest.classes) > head.capacity:
        raise _wrong("classes", manifest.classes, f"at most {head.capacity} names")
    shapes = {parameter.name: parameter.shape for parameter in head.parameters}
    for name, wanted in ((WEIGHT, [head.capacity, head.penultimate_size]), (BIAS, [head.capacity])):
        if shapes.get(name) != wanted:
            raise _wrong(f"head.parameters {name}", shapes.get(name), str(wanted))
    if any(len(shapes.get(name, [])) != 4 for name in head.positions_first):
        raise _wrong("head.positions_first", head.positions_first, "names of parameters with four sides")


def _wrong(where: str, value: object, expected: str) -> BundleError:
    return BundleError(f"manifest.json: {where} is {ascii(value)[:80]}, expected {expected}")
