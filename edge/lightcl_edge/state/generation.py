"""A generation: everything a device has learned at one point, as records."""

from dataclasses import dataclass, field
from typing import Annotated

from lightcl_edge.data.sums import Sums
from lightcl_edge.files.records import DIFFERENT, NOT_NEGATIVE, POSITIVE, between
from lightcl_edge.files.tensors import Parameters, Tensors

#: Version of the records in ``meta.json``.
STATE_FORMAT = 2
#: Files of a generation; all but the last hold tensors.
HEAD, STRATEGY, HOLDOUT, META = "head.safetensors", "strategy.safetensors", "holdout.safetensors", "meta.json"
CLASSIFIER = "classifier.safetensors"
#: How many generations stay for ``rollback``.
KEPT_GENERATIONS = 5
#: How many tasks back a state knows what it was taught from.
REMEMBERED_TASKS = 64
#: Seconds since 1970 that every calendar can show.
_LATEST_SECONDS = 2**40

Count = Annotated[int, NOT_NEGATIVE]


@dataclass(frozen=True)
class Meta:
    """What is known of a generation besides its tensors: the content of ``meta.json``."""

    generation: int  # 0 is the bundle as exported
    created: Annotated[float, between(0, _LATEST_SECONDS)]  # Unix time in seconds
    bundle_identity: str
    classes: Annotated[list[str], DIFFERENT]  # of the classifier's rows in order
    parent: int = 0  # the generation it was learned from
    strategy: str | None = None  # that made it, as the next ones
    engine: str | None = None
    engine_reason: str | None = None  # why that engine
    engine_device: str | None = None  # what computed its steps: cpu or a GPU
    trunk_provider: str | None = None  # what computed the trunk; None when its features were there already
    tasks: Count = 0  # how many were learned
    images: Count = 0  # learned in the last task
    #: Images in the sums of each class, in the classes' order; 0 where the bundle brought it and nothing was learned.
    images_by_class: list[Count] = field(default_factory=list)
    holdout_accuracy: Annotated[float, between(0, 1)] | None = None  # of all classes; None without held-out features
    holdout_right: Count = 0  # of so many held-out images
    holdout_images: Count = 0
    row_scale: Annotated[float, POSITIVE] | None = None  # that new rows of the classifier start with; None before any
    #: What becomes black and white in images of more than 8 bits; None before any was learned.
    grey_range: tuple[float, float] | None = None
    bytes_written_total: Count = 0  # to this state's disk when the generation was committed
    #: Fingerprints of the data of the newest tasks, oldest first; none of those before a class was forgotten.
    sources: list[str] = field(default_factory=list)
    renumbered_from: int | None = None  # the number it had before a class was forgotten
    files: dict[str, str] = field(default_factory=dict)  # name -> SHA-256 of the generation's other files
    format: int = STATE_FORMAT


@dataclass(frozen=True)
class Generation:
    """A generation, read.

    Attributes:
        meta: its record.
        parameters: of the head; each is read from the file when it is asked for.
        strategy_state: what the strategy remembers.
        holdout: ``features`` (uint8), ``labels``, ``taps`` and ``marks`` of what was not trained on, or empty.
        sums: what each class has taught; a class's are read from its file when they are asked for.
        buffer: tensors of the feature buffer, or empty.
        classifier: tensors of the classifier that predictions are made with, or empty where the head alone makes them.
    """

    meta: Meta
    parameters: Parameters
    strategy_state: Tensors
    holdout: Tensors
    sums: Sums
    buffer: Tensors = field(default_factory=dict)
    classifier: Tensors = field(default_factory=dict)
