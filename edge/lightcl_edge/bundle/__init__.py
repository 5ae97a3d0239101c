"""The bundle that a host hands to a device: manifest, opening and checking, writing, signature."""
