"""Networks as plain torch modules, and where their weights, input size and normalisation come from."""
