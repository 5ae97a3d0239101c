"""Removing channels, and distilling what is left."""
