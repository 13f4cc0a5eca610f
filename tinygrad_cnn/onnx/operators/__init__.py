"""What each operator of ONNX computes, written with the package's own ops."""
