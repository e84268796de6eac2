"""Running a SavedModel through TensorFlow's C API, with nothing of this library in its graph."""
