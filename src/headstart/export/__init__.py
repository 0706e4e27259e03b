"""The saved model: its directory, its card, ONNX."""
