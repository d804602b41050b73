"""The spool as an object store: received instances as objects, what waits for it on disk, what was read of it."""
