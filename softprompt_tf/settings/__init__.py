"""Settings as files: read with their lines, merged, checked by key, compared; and the word that a wrong one was meant for."""
