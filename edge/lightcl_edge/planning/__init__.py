"""Predicted memory, the choice of a training step, refusal of what does not fit."""
