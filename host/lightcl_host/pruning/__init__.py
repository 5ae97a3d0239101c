"""Removing channels and recovering accuracy."""
