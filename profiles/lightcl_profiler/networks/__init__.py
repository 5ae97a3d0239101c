"""Whole networks that the baselines train."""
