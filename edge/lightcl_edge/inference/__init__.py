"""Trunk and head in ONNX Runtime: features, logits, predictions."""
