"""The local model server, over gRPC and REST."""
