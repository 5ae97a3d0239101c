"""What was learned as one ONNX file."""
