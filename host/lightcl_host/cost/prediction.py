"""The predicted peak memory of a training on the device, phase by phase, and its work."""

from dataclasses import replace

from lightcl_edge.bundle.manifest import Manifest
from lightcl_edge.learning.strategies.choice import plan_for, planned_patterns, recommended_for
from lightcl_edge.planning.plan import DEVICE_BASE_BYTES, Plan

#: Forward one product; backward two, for the input and for the weight.
_FORWARD_BACKWARD = 3


def predict(
    manifest: Manifest,
    engine: str,
    batch_size: int | None = None,
    buffer_samples: int | None = None,
    images: int = 0,
    strategy: str = "replay",
) -> Plan:
    """What a training of one task would need on a device; None takes the strategy's own default.

    Returns:
        The plan; ``peak_bytes`` is its largest phase.
    """
    settings = recommended_for(manifest.defaults, strategy)
    if batch_size is not None:
        settings = replace(settings, batch_size=batch_size)
    if buffer_samples is not None:
        settings = replace(settings, buffer_samples=buffer_samples, beta=max(settings.beta, 1.0))
    patterns = planned_patterns(strategy, settings)
    plan = plan_for(strategy, manifest, engine, settings.batch_size, patterns, images)
    return replace(plan, base_bytes=DEVICE_BASE_BYTES)


def task_multiply_adds(manifest: Manifest, images: int, epochs: int | None = None) -> tuple[int, int]:
    """Multiply-adds of one task, and of training the whole network on the same images for as many epochs.

    The trunk runs once an image. The head runs forward and backward each epoch, for the batch and for the samples with
    patterns. Training the whole network runs both parts forward and backward each epoch.
    """
    cost, defaults = manifest.cost, manifest.defaults
    passes = images * (defaults.epochs if epochs is None else epochs)
    held = 1 + defaults.buffer_samples / defaults.batch_size
    training = _FORWARD_BACKWARD * cost.head_multiply_adds * passes
    whole = _FORWARD_BACKWARD * (cost.trunk_multiply_adds + cost.head_multiply_adds) * passes
    return round(images * cost.trunk_multiply_adds + held * training), whole
