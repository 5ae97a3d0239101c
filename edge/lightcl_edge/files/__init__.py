"""Files read and written strictly: durable writes, JSON, typed records, safetensors, ONNX."""
