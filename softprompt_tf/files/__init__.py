"""Files and paths: written whole or not at all, locked while a process works in a directory, kept free of this machine."""
