"""What the name of a log file says: whether it is still written to, and which files it may have been rotated to."""

import re
from functools import lru_cache
from pathlib import PurePath

_ROTATED = re.compile(
    r"\.json[._-].+$"  # cowrie.json.2026-11-24, cowrie.json.1, cowrie.json-20261124.gz
    r"|(?:19|20)\d\d-?[01]\d-?[0-3]\d"  # cowrie-20261124.json
    r"|\.\d{1,4}$"  # cowrie.log.1
    r"|\.(?:gz|bz2|xz|zst)$"
)


@lru_cache(maxsize=100_000)
def is_archive(path: str) -> bool:
    """Return whether a file of this name is taken for complete: it was rotated, compressed, or bears a date."""
    return _ROTATED.search(PurePath(path).name) is not None


def stem(name: str) -> str:
    """Return what a live file and those that it was rotated to have in common: what is before dots and dates."""
    return re.sub(r"[-_]?(?:19|20)\d\d-?[01]\d-?[0-3]\d.*", "", name).partition(".")[0]
