"""The views for queries that were written for ntt (github.com/vm-wylbur/ntt): its names, and its columns.

What stands behind each column is in the migration that makes them, and in `docs/reference/ntt-views.md`. `part` is
ours: inode numbers repeat in the partitions of one disk.
"""

SINCE = "0009"
"""The revision that makes them."""

VIEWS: dict[str, tuple[str, ...]] = {
    "medium": (
        "medium_hash",
        "medium_human",
        "message",
        "image_path",
        "enum_done",
        "copy_done",
        "added_at",
        "health",
        "problems",
        "diagnostics",
    ),
    "inode": (
        "medium_hash",
        "dev",
        "ino",
        "nlink",
        "size",
        "mtime",
        "fs_type",
        "blobid",
        "mime_type",
        "copied",
        "copied_to",
        "by_hash_created",
        "claimed_by",
        "claimed_at",
        "processed_at",
        "errors",
        "status",
        "error_type",
        "part",
    ),
    "path": ("medium_hash", "dev", "ino", "path", "broken", "blobid", "exclude_reason", "part"),
    "blobs": ("blobid", "last_checked", "created_at", "n_hardlinks"),
}
