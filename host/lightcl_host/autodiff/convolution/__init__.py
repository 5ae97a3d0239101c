"""Convolutions and their gradients, written with faster operators than Conv where there are any."""
