"""One task from images to a new generation."""
