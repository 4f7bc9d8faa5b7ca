r"""Rules of exclusion: paths that need no copy. A file with one regular expression a line.

- The expressions are those of Python's `re`, over bytes; `.` matches line ends too. One excludes a path where it
  matches anywhere in it (`re.search`).
- A path is matched as it stands below the root of its file system, with a slash before it: `/DCIM/100.jpg`. Only files
  are matched: a folder is excluded by excluding what is in it (`/\.cache/`).
- Blank lines, and lines that begin with `#`, say nothing; but `#: NAME` gives the next expression its id. Without one
  it is `line` and the line's number.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from blake3 import blake3

from producers.media.errors import MalformedError, PreconditionError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_POSIX = re.compile(rb"\[[:.=][a-z]*[:.=]\]")
_NUMBERED = re.compile(rb"\\[1-9]|\(\?[P(]")
_FLAGS = re.DOTALL


class Rule(msgspec.Struct, frozen=True):
    """One expression, and the id by which records name it."""

    id: str
    pattern: bytes


class Rules:
    """An ordered set of rules; the first that matches a path names it. None excludes nothing."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        """Raise MalformedError for an expression that can't be used, and for two rules with one id."""
        self.rules = tuple(rules)
        self._compiled = [(rule.id, _compiled(rule)) for rule in rules]
        if len({rule.id for rule in rules}) < len(rules):
            raise MalformedError("bad_rules", "two rules of exclusion have the same id: rename one of them")
        self._any = _either([pattern for _, pattern in self._compiled])

    @property
    def digest(self) -> str:
        """The BLAKE3 of the rules and their ids, in order: what a comment says doesn't matter."""
        text = b"".join(b"%b\0%b\n" % (rule.id.encode(), rule.pattern) for rule in self.rules)
        return blake3(text).hexdigest()

    def match(self, path: bytes) -> str:
        """Return the id of the rule that excludes `path`, which lies below the root; empty where none does."""
        if not self._compiled:
            return ""
        rooted = b"/" + path
        if self._any is not None and not self._any.search(rooted):
            return ""
        return next((name for name, pattern in self._compiled if pattern.search(rooted)), "")


def load_rules(path: Path) -> Rules:
    """Return the rules of a file.

    Raises PreconditionError where the file can't be read, MalformedError where it holds no rule or a wrong one: a path
    that is configured by mistake must not mean that everything is copied.
    """
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PreconditionError(
            "no_rules", f"the rules of exclusion {shown} can't be read ({error.strerror}): check `media.patterns`"
        ) from error
    try:
        rules = Rules(_parse(text))
    except MalformedError as error:
        raise MalformedError(error.reason, f"{shown}: {error}") from error
    if not rules.rules:
        raise MalformedError("bad_rules", f"{shown} holds no rule: unset `media.patterns` if nothing is to be excluded")
    return rules


def _parse(text: bytes) -> list[Rule]:
    rules: list[Rule] = []
    name = ""
    for number, line in enumerate(text.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if line.startswith(b"#:"):
            name = line[2:].decode("utf-8", "replace").strip()
            if not _ID.fullmatch(name):
                raise MalformedError("bad_rules", f"line {number}: {name!r} can't be an id: use letters, digits, . _ -")
        elif line.strip() and not line.startswith(b"#"):
            rules.append(Rule(name or f"line{number}", line))
            name = ""
    return rules


def _compiled(rule: Rule) -> re.Pattern[bytes]:
    if _POSIX.search(rule.pattern):
        raise MalformedError(
            "bad_rules", f"rule {rule.id}: classes such as [:alpha:] aren't known here: write the range, such as [a-z]"
        )
    try:
        return re.compile(rule.pattern, _FLAGS)
    except re.error as error:
        raise MalformedError(
            "bad_rules", f"rule {rule.id}: {error}: it must be an expression of Python's re"
        ) from error


def _either(patterns: list[re.Pattern[bytes]]) -> re.Pattern[bytes] | None:
    """Return one expression that matches where any does, which is quicker; None where they can't be joined.

    Groups that are referred to would be numbered anew, and flags within an expression would hold for all.
    """
    if any(_NUMBERED.search(pattern.pattern) or pattern.flags != _FLAGS for pattern in patterns):
        return None
    return re.compile(b"|".join(b"(?:%b)" % pattern.pattern for pattern in patterns), _FLAGS)
