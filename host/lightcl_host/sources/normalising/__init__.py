"""The graph of any exporter, rewritten into the form that the product works on."""
