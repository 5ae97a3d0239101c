"""From a network to a bundle."""
