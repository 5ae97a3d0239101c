"""What learning would need on a device: memory, disk and work, predicted from a bundle or from a cut alone."""
