"""The risk score: what an event tells of an intrusion, from 0 to 100. All rules stand in this file.

The score of an event is the greatest of the points that its rules give, and that of a session the greatest of its
events. So order and repeats change nothing. It is a hint for people who look for the interesting sessions, not a
verdict: it knows text, not what the text does. Whoever changes a rule or its points changes `VERSION`.
"""

import re
from typing import NamedTuple

VERSION = 1
MAX_POINTS = 100
MAX_ASSESSED_CHARS = 65_536
"""Only so much of a command is searched, so that no command can hold anything up."""


class KindRule(NamedTuple):
    """An event of the kind `eventid` is worth `points`."""

    eventid: str
    points: int
    meaning: str


class CommandRule(NamedTuple):
    """A command is worth `points` where its normalized form holds one of `words` and is found by `pattern`."""

    points: int
    meaning: str
    words: tuple[str, ...]
    pattern: str


KIND_RULES = (
    KindRule("cowrie.login.failed", 10, "somebody guesses credentials"),
    KindRule("cowrie.client.fingerprint", 10, "somebody offers a public key"),
    KindRule("cowrie.session.input", 15, "something is typed into a running command"),
    KindRule("cowrie.login.success", 30, "somebody gets in"),
    KindRule("cowrie.direct-tcpip.request", 40, "a tunnel is asked for"),
    KindRule("cowrie.direct-tcpip.data", 45, "something is sent through a tunnel"),
    KindRule("cowrie.session.file_download.failed", 50, "a file is to be fetched"),
    KindRule("cowrie.session.file_download", 60, "a file is fetched"),
    KindRule("cowrie.session.file_upload", 60, "a file is brought"),
    KindRule("cowrie.command.chpasswd", 65, "a password is changed"),
    KindRule("cowrie.telnet.exploit_attempt", 70, "a weakness of telnet is tried"),
)
"""What the kind of an event alone tells. Kinds that are not named are worth nothing, commands apart."""

ANY_COMMAND = KindRule("cowrie.command", 20, "any command: every kind whose name holds this")

_START = r"(?:^|[\s;&|(`/$'\"])"
# No pattern may search further than a few characters from where it starts, or an attacker could make it quadratic.
COMMAND_RULES = (
    CommandRule(
        90,
        "connects a shell to the network",
        ("/dev/", "nc"),
        r"/dev/(?:tcp|udp)/|\bnc(?:at)?\s(?:.{0,40}?\s)?-[a-z]{0,8}e\b",
    ),
    CommandRule(
        90,
        "mines",
        ("xmrig", "miner", "kdevtmpfsi", "kinsing", "stratum+", "c3pool", "supportxmr", "moneroocean"),
        r"xmrig|minerd|cpuminer|minexmr|kdevtmpfsi|kinsing|stratum\+|c3pool|supportxmr|moneroocean",
    ),
    CommandRule(80, "writes to the keys of SSH", ("authorized_keys",), r"authorized_keys"),
    CommandRule(
        75,
        "changes scheduled jobs",
        ("cron",),
        rf"{_START}crontab\s(?:-$|-\s|-r|[^-\s])|\|\s?crontab\b|/etc/cron|/var/spool/cron",
    ),
    CommandRule(
        70,
        "pipes something into a shell or an interpreter",
        ("|",),
        r"\|\s?(?:sudo )?(?:/\w{1,16}){0,4}/?(?:(?:ba|da|a|k|z|c|tc)?sh|perl|python[23]?|php)(?:$|[\s;&|)`])",
    ),
    CommandRule(
        70,
        "opens the firewall",
        ("tables", "ufw", "nft", "setenforce"),
        rf"{_START}(?:ip6?tables\s(?:.{{0,40}}?\s)?(?:-F|-X|--flush)(?:\s|$|;)|ufw disable|nft flush|setenforce 0)",
    ),
    CommandRule(
        70,
        "wipes its traces",
        ("hist", "HIST", "/var/log"),
        r"history -[a-z]{0,4}[cw]|unset HIST|HISTFILE=(?:/dev/null|$|[\s;&])|HIST(?:FILE)?SIZE=0|"
        r"(?:>|/dev/null |shred |truncate ).{0,40}?(?:_history|/var/log/)",
    ),
    CommandRule(65, "changes a password", ("passwd",), r"\bchpasswd\b|(?:^|[;&|] ?)passwd(?:$|[\s;&|])"),
    CommandRule(
        60,
        "downloads something",
        ("wget", "curl", "tftp", "ftpget", "lwp-download"),
        rf"{_START}(?:wget|curl|tftp|ftpget|lwp-download)\s\S",
    ),
    CommandRule(
        50,
        "makes a file executable",
        ("chmod",),
        rf"{_START}chmod\s(?:-\w{{1,16}} )?(?:[ugoa]{{0,4}}\+[rwst]{{0,4}}x|[0-7]?[1357][0-7]{{2}}(?:\s|$))",
    ),
    CommandRule(
        45,
        "removes recursively",
        ("rm",),
        rf"{_START}rm (?:-\S{{1,32}} ){{0,4}}(?:-[a-zA-Z]{{0,8}}[rR]|--recursive)",
    ),
    CommandRule(40, "calls an applet of busybox", ("busybox",), rf"{_START}busybox\s\S"),
)
"""What makes a command one of high risk, the greatest points first."""

_KINDS = {rule.eventid: rule.points for rule in KIND_RULES}
_SEARCHES = tuple((rule.points, rule.words, re.compile(rule.pattern).search) for rule in COMMAND_RULES)


def of_kind(eventid: str) -> int:
    """Return what the kind of an event is worth, whatever else it holds."""
    found = _KINDS.get(eventid)
    if found is None:
        return ANY_COMMAND.points if is_command(eventid) else 0
    return found


def is_command(eventid: str) -> bool:
    """Say whether an event tells of a command."""
    return ANY_COMMAND.eventid in eventid


def of_command(normalized: str) -> int:
    """Return what a command is worth beyond being one: 0 where no rule finds it to be of high risk.

    `normalized` is storable text in which every run of whitespace is one space.
    """
    text = normalized[:MAX_ASSESSED_CHARS]
    for points, words, search in _SEARCHES:
        if any(word in text for word in words) and search(text):
            return points
    return 0
