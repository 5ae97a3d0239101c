"""The trunk as int8, fp16 or float32, checked against the original."""
