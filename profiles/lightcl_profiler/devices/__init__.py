"""Boards and what they can do."""
