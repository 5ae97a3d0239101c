"""Reverse-mode differentiation of an ONNX graph into another ONNX graph of standard inference operators."""
