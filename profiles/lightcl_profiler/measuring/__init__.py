"""Each method in a fresh process, its memory watched."""
