"""Bytes that the frozen trunk needs: when a bundle is first used, and while images become features."""

from lightcl_edge.bundle.manifest import Manifest

MIB = 2**20
#: What onnxruntime adds when it turns images into features.
ONNXRUNTIME_BYTES = int(14.3 * MIB)
#: Copies of the trunk's weights while it is opened (file, initialisers, re-laid for the processor), and once it runs.
OPENING_TRUNK_COPIES, RUNNING_TRUNK_COPIES = 2.4, 1.0
#: Share of the counted activations that are there at once (onnxruntime fuses operators); copies of an image being read.
WORKSPACE_FACTOR, PIXEL_COPIES = 0.35, 2.0
#: First use: onnxruntime, copies of the trunk, of the head (its session beside the trunk's), of golden activations.
INSTALL_BYTES, INSTALL_TRUNK_COPIES, INSTALL_HEAD_COPIES, INSTALL_ACTIVATION_COPIES = 12 * MIB, 1.5, 1.06, 0.25
#: The activations of a batch of images fit into this; and the most images of a batch.
EXTRACTION_BYTES, LARGEST_BATCH = 12 * MIB, 8


def install_bytes(manifest: Manifest) -> int:
    """Added by the trunk when it is opened, or by trunk and head at once with the golden images; the larger of both."""
    cost = manifest.cost
    golden = INSTALL_ACTIVATION_COPIES * manifest.golden.count * cost.trunk_peak_activation_bytes
    weights = INSTALL_TRUNK_COPIES * _weight_bytes(manifest) + INSTALL_HEAD_COPIES * cost.head_parameter_bytes
    opening = ONNXRUNTIME_BYTES + OPENING_TRUNK_COPIES * _weight_bytes(manifest)
    return int(max(opening, INSTALL_BYTES + weights + golden))


def extract_bytes(manifest: Manifest) -> int:
    """Added by the trunk when it is opened, or by a batch of images in it; the larger of both."""
    from lightcl_edge.data.decoding import planned_decoding_bytes  # with Pillow, which not all who plan need

    cost, pixels = manifest.cost, 4 * 3 * manifest.input.height * manifest.input.width
    image = WORKSPACE_FACTOR * cost.trunk_peak_activation_bytes + PIXEL_COPIES * pixels
    weights = _weight_bytes(manifest)
    running = RUNNING_TRUNK_COPIES * weights + extraction_batch(manifest) * image
    running += planned_decoding_bytes(manifest.input.width, manifest.input.height)
    return int(ONNXRUNTIME_BYTES + max(OPENING_TRUNK_COPIES * weights, running))


def _weight_bytes(manifest: Manifest) -> int:
    """In memory: a processor computes half precision in float32."""
    stored = manifest.cost.trunk_parameter_bytes
    return 2 * stored if manifest.model.trunk_dtype == "fp16" else stored


def extraction_batch(manifest: Manifest) -> int:
    """How many images go through the trunk at once, 1 to ``LARGEST_BATCH``."""
    fitting = EXTRACTION_BYTES // max(1, manifest.cost.trunk_peak_activation_bytes)
    return max(1, min(LARGEST_BATCH, fitting))
