"""ONNX graphs: reading, running, counting."""
