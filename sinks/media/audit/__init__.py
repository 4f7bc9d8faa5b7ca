"""The audit of the media archive: twelve invariants over database, store, archives, listings and log."""
