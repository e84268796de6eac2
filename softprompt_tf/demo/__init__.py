"""The demo: three small tasks of the library's own sentences, from training to answers over gRPC."""
