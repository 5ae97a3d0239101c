"""What a device has learned, as numbered generations on disk."""
