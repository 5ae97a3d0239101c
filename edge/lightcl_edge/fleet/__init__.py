"""Boards that learn from each other: what one may share, and what another takes in."""
