"""Classifiers computed from sums, without a training step."""
