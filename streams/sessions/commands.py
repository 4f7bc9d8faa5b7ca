"""Commands: one form for what is the same command, and whether it is one that does harm."""

import re
from functools import lru_cache
from typing import NamedTuple

from tallystick.contracts.text import printable

MAX_COMMAND_CHARS = 4_096
MAX_ASSESSED_CHARS = 65_536
"""Only so much of a command is searched for risks, so that no command can hold up the fold."""

_MAX_CACHED_CHARS = 4_096

_START = r"(?:^|[\s;&|(`/$'\"])"
# No pattern may search further than a few characters from where it starts, or an attacker could make it quadratic.
_HIGH_RISK: dict[str, tuple[tuple[str, ...], str]] = {
    "downloads something": (
        ("wget", "curl", "tftp", "ftpget", "lwp-download"),
        rf"{_START}(?:wget|curl|tftp|ftpget|lwp-download)\s\S",
    ),
    "pipes something into a shell or an interpreter": (
        ("|",),
        r"\|\s?(?:sudo )?(?:/\w{1,16}){0,4}/?(?:(?:ba|da|a|k|z|c|tc)?sh|perl|python[23]?|php)(?:$|[\s;&|)`])",
    ),
    "makes a file executable": (
        ("chmod",),
        rf"{_START}chmod\s(?:-\w{{1,16}} )?(?:[ugoa]{{0,4}}\+[rwst]{{0,4}}x|[0-7]?[1357][0-7]{{2}}(?:\s|$))",
    ),
    "removes recursively": (("rm",), rf"{_START}rm (?:-\S{{1,32}} ){{0,4}}(?:-[a-zA-Z]{{0,8}}[rR]|--recursive)"),
    "writes to the keys of SSH": (("authorized_keys",), r"authorized_keys"),
    "changes scheduled jobs": (
        ("cron",),
        rf"{_START}crontab\s(?:-$|-\s|-r|[^-\s])|\|\s?crontab\b|/etc/cron|/var/spool/cron",
    ),
    "opens the firewall": (
        ("tables", "ufw", "nft", "setenforce"),
        rf"{_START}(?:ip6?tables\s(?:.{{0,40}}?\s)?(?:-F|-X|--flush)(?:\s|$|;)|ufw disable|nft flush|setenforce 0)",
    ),
    "calls an applet of busybox": (("busybox",), rf"{_START}busybox\s\S"),
    "connects a shell to the network": (
        ("/dev/", "nc"),
        r"/dev/(?:tcp|udp)/|\bnc(?:at)?\s(?:.{0,40}?\s)?-[a-z]{0,8}e\b",
    ),
    "mines": (
        ("xmrig", "miner", "kdevtmpfsi", "kinsing", "stratum+", "c3pool", "supportxmr", "moneroocean"),
        r"xmrig|minerd|cpuminer|minexmr|kdevtmpfsi|kinsing|stratum\+|c3pool|supportxmr|moneroocean",
    ),
    "wipes its traces": (
        ("hist", "HIST", "/var/log"),
        r"history -[a-z]{0,4}[cw]|unset HIST|HISTFILE=(?:/dev/null|$|[\s;&])|HIST(?:FILE)?SIZE=0|"
        r"(?:>|/dev/null |shred |truncate ).{0,40}?(?:_history|/var/log/)",
    ),
    "changes a password": (("passwd",), r"\bchpasswd\b|(?:^|[;&|] ?)passwd(?:$|[\s;&|])"),
}
"""What makes a command one of high risk: words of which one must occur, and the pattern of its normalized form."""

_RISKS = tuple((words, re.compile(pattern).search) for words, pattern in _HIGH_RISK.values())


class Command(NamedTuple):
    """A command as a session lists it: storable, normalized, cut to `MAX_COMMAND_CHARS`, by `cut_chars`."""

    normalized: str
    cut_chars: int
    high_risk: bool


def normalize(text: str) -> str:
    """Return `text` without whitespace at its ends, every other run of whitespace being one space."""
    return " ".join(text.split())


def is_high_risk(normalized: str) -> bool:
    """Say whether a normalized command does one of the things that are typical of an intrusion.

    A hint for people who look for the interesting sessions, not a verdict: it knows text, not what the text does. Only
    the first `MAX_ASSESSED_CHARS` characters count.
    """
    text = normalized[:MAX_ASSESSED_CHARS]
    return any(search(text) for words, search in _RISKS if any(word in text for word in words))


def read_command(text: str) -> Command:
    """Return the command that was typed as `text`. Bots type the same again and again, so the latest are remembered."""
    return _remembered(text) if len(text) <= _MAX_CACHED_CHARS else _read(text)


def _read(text: str) -> Command:
    normalized = normalize(printable(text))
    risk = is_high_risk(normalized)
    return Command(normalized[:MAX_COMMAND_CHARS], max(0, len(normalized) - MAX_COMMAND_CHARS), risk)


_remembered = lru_cache(maxsize=1_024)(_read)
