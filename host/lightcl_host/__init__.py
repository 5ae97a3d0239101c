"""lightcl-host: analyses a model, cuts it, and makes the bundle a device learns from."""
