"""Class-incremental benchmarks: methods learn tasks one after the other and are compared on held-out images."""
