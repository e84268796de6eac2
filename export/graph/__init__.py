"""What is in the SavedModel: signatures, tables by task id, length groups."""
