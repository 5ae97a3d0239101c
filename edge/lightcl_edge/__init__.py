"""lightcl-edge: a device that keeps learning, with a frozen trunk and a light head."""

__version__ = "0.1.0"
