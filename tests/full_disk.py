"""A disk that is full after some files, for code that writes whole files and brings each of them to the disk."""

import os


def fill_disk(monkeypatch, *, num_written):
    """Let `num_written` more files reach the disk, and none after them."""
    synced, sync = [], os.fsync

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) > num_written:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
