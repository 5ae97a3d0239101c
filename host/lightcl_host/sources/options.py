"""What the command line says about a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceOptions:
    """Fields that are None leave the choice to the model."""

    model: str  # the specification
    weights: str = "default"  # ``default``, ``none`` or a file; an ``.onnx`` file has its own
    image_size: int | None = None  # side in pixels; None for the model's own
    mean: tuple[float, float, float] | None = None  # for pixels in 0..1; None for the model's own
    std: tuple[float, float, float] | None = None  # for pixels in 0..1; None for the model's own
    scale: float | None = None  # largest pixel that mean and std are stated for, such as 255; None for 1
    channel_order: str | None = None  # RGB or BGR; None for the model's own, as the fields that follow
    resize: str | None = None  # crop or stretch
    crop_ratio: float | None = None  # input size over the resized shorter side
    interpolation: str | None = None  # bilinear, bicubic or nearest
    output: str | None = None  # name of the logits in an ``.onnx`` file with several outputs
    seed: int = 0  # of random weights
