"""Following log files while they are written, rotated, compressed, truncated and deleted.

`names`, `steps` and `arrivals` decide and do no I/O; `views` and `notices` look at the file system; `live` reads a file
that changes under the reader, `tail` is one source that is followed, and `follower` all of them.
"""
