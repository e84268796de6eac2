"""Versions of an export on the disk: writing, adding, removing, checking, hard links."""
