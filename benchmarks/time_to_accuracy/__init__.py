"""Seconds of training until a dev accuracy is reached, beside PEFT; see `__main__`."""
