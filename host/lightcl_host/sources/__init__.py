"""Model specifications and files as one graph in normal form."""
