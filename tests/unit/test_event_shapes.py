"""Every documented shape of an event of Cowrie 1, 2 and 3: it is accepted, and lands where it belongs in the state."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from streams.sessions.fold import SessionFold
from tallystick.contracts.cowrie import (
    CommandSeen,
    FileSeen,
    First,
    KeySeen,
    LoginSeen,
    SessionState,
    TunnelSeen,
    read_envelope,
    read_places,
)

AT = "2026-11-23T03:43:43.270739Z"
SHA = "77aba485153228673ed136e384b12c562053158c6eb40ea7e87152b3db13fdc9"
PEERS = {"src_ip": "198.51.100.7", "src_port": 35266, "dst_ip": "192.0.2.1", "dst_port": 2222, "protocol": "ssh"}
TUNNEL: dict[str, object] = {"dst_ip": "203.0.113.5", "dst_port": 25}
ODD = {"message": ["login", "attempt"], "isError": 0, "system": "SSHService,7,198.51.100.7", "format": "x %(y)s"}

Look = Callable[[SessionState], object]


def base(**seen: Any) -> dict[str, Any]:
    return {"occurrences": 1, "first": AT, "last": AT, "position": 5, **seen}


def command(typed: int, reported: int, failed: int = 0) -> CommandSeen:
    return CommandSeen(**base(normalized="ls -l", typed=typed, reported=reported, failed=failed))


def counts(state: SessionState) -> tuple[int, ...]:
    """Return logins, commands, failed commands, downloads, failed ones, uploads and tunnels."""
    return (
        state.login_attempts,
        state.command_count,
        state.command_failed,
        state.downloads,
        state.downloads_failed,
        state.uploads,
        state.tunnel_count,
    )


def addresses(state: SessionState) -> list[str | int | None]:
    firsts = (state.src_ip, state.src_port, state.dst_ip, state.dst_port, state.protocol)
    return [first.value if first else None for first in firsts]


def nothing_but_counted(state: SessionState) -> bool:
    bare = (state.commands, state.logins, state.files, state.tunnels, state.keys, state.duration_ms, state.closed_at)
    return counts(state) == (0,) * 7 and not any(bare)


SHAPES = [
    pytest.param("session.connect", PEERS, addresses, [*PEERS.values()], id="Cowrie 3: a connection tells its peers"),
    pytest.param("session.connect", {"src_ip": "2001:db8::1"}, lambda s: s.src_ip, First(AT, "2001:db8::1"), id="IPv6"),
    pytest.param(
        "session.connect", {"src_ip": "192.0.2.9", "src_port": 0}, lambda s: s.src_port, First(AT, 0), id="port 0"
    ),
    pytest.param(
        "client.version", {"version": "SSH-2.0-Go"}, addresses, [None] * 5, id="Cowrie 2: an event without addresses"
    ),
    pytest.param(
        "client.version",
        {"version": "SSH-2.0-Go", **PEERS},
        lambda s: s.client_version,
        First(AT, "SSH-2.0-Go"),
        id="a client's version",
    ),
    pytest.param(
        "client.version",
        {"version": "'SSH-2.0-Go'", **ODD},
        lambda s: s.client_version,
        First(AT, "'SSH-2.0-Go'"),
        id="Cowrie 1: a quoted version, a list for a message, and Twisted's own fields",
    ),
    pytest.param(
        "client.kex",
        {"hassh": "0a07", "kexAlgs": ["a", "b"], "langCS": [""]},
        lambda s: s.hassh,
        First(AT, "0a07"),
        id="a key exchange with its hassh",
    ),
    pytest.param(
        "client.kex",
        {"kexAlgs": ["a"], "keyAlgs": ["b"]},
        lambda s: s.hassh,
        None,
        id="Cowrie 1: a key exchange without a hassh",
    ),
    pytest.param("client.size", {"width": 80, "height": 24}, nothing_but_counted, True, id="a terminal's size"),
    pytest.param("client.var", {"name": "LANG", "value": "C"}, nothing_but_counted, True, id="an environment variable"),
    pytest.param(
        "client.fingerprint",
        {"username": "root", "fingerprint": "89:f8", "key": "ssh-rsa AAAA", "type": "ssh-rsa"},
        lambda s: s.keys,
        [KeySeen(**base(fingerprint="89:f8", type="ssh-rsa", username="root"))],
        id="a public key that is offered",
    ),
    pytest.param(
        "login.failed",
        {"username": "root", "password": "x"},
        lambda s: s.logins,
        [LoginSeen(**base(username="root", password="x", succeeded=False))],
        id="a login that fails",
    ),
    pytest.param(
        "login.success",
        {"username": "root", "password": "x", **PEERS},
        lambda s: s.logins,
        [LoginSeen(**base(username="root", password="x", succeeded=True))],
        id="a login that succeeds",
    ),
    pytest.param(
        "login.success",
        {"username": "root", "fingerprint": "89:f8", "key": "ssh-rsa AAAA", "type": "ssh-rsa"},
        lambda s: (s.login_succeeded, len(s.keys)),
        (1, 1),
        id="a login by key",
    ),
    pytest.param(
        "login.failed",
        {"username": None, "password": None},
        lambda s: s.login_failed,
        1,
        id="a telnet login without a name",
    ),
    pytest.param(
        "command.input", {"input": "ls  -l"}, lambda s: s.commands, [command(1, 0)], id="a command that is typed"
    ),
    pytest.param(
        "command.failed", {"input": "ls -l"}, lambda s: s.commands, [command(0, 1, 1)], id="a command that fails"
    ),
    pytest.param(
        "command.success",
        {"input": "ls -l", "message": "Command found: ls -l"},
        lambda s: s.commands,
        [command(0, 1)],
        id="Cowrie 1: a command that is found",
    ),
    pytest.param(
        "command.input",
        {"input": "ls", "realm": "telnet", **ODD},
        lambda s: s.command_count,
        1,
        id="Cowrie 1: a command in its realm",
    ),
    pytest.param(
        "command.chpasswd",
        {"realm": "chpasswd", "username": "root"},
        lambda s: (s.command_count, s.commands),
        (1, []),
        id="a change of password",
    ),
    pytest.param(
        "session.input", {"input": "yes"}, nothing_but_counted, True, id="what is typed into a running command is none"
    ),
    pytest.param(
        "session.params",
        {"arch": "linux-x64-lsb", "message": []},
        lambda s: s.arch,
        First(AT, "linux-x64-lsb"),
        id="Cowrie 2: session parameters with an empty list for a message",
    ),
    pytest.param(
        "session.file_download",
        {"url": "http://192.0.2.9/a/x.sh", "outfile": f"dl/{SHA}", "shasum": SHA},
        lambda s: s.files,
        [FileSeen(**base(how="download", shasum=SHA, url="http://192.0.2.9/a/x.sh", filename=SHA))],
        id="Cowrie 3: a download, named as it is stored",
    ),
    pytest.param(
        "session.file_download",
        {"url": "stdin", "outfile": f"dl/{SHA}", "shasum": SHA, "destfile": "/tmp/.x/bot"},
        lambda s: [f.filename for f in s.files],
        ["bot"],
        id="Cowrie 2: a redirected file, named by its destfile",
    ),
    pytest.param(
        "session.file_download",
        {"url": "x", "outfile": f"dl/{SHA}", "shasum": SHA, "destfile": ""},
        lambda s: [f.filename for f in s.files],
        [SHA],
        id="Cowrie 2: an empty destfile names nothing",
    ),
    pytest.param(
        "session.file_download",
        {"url": "tftp://192.0.2.9/mirai", "shasum": SHA},
        lambda s: (s.downloads, s.files[0].url),
        (1, "tftp://192.0.2.9/mirai"),
        id="a download by tftp",
    ),
    pytest.param(
        "session.file_download.failed",
        {"url": "http://192.0.2.9/x"},
        lambda s: (s.downloads_failed, s.files[0].how),
        (1, "download_failed"),
        id="a download that fails",
    ),
    pytest.param(
        "session.file_upload",
        {"filename": "payload.sh", "outfile": f"dl/{SHA}", "shasum": SHA},
        lambda s: s.files,
        [FileSeen(**base(how="upload", shasum=SHA, filename="payload.sh"))],
        id="an upload, named by its sender",
    ),
    pytest.param(
        "session.file_upload",
        {"filename": "a", "shasum": SHA, "size": 96},
        lambda s: s.files[0].size,
        96,
        id="an upload that tells its size",
    ),
    pytest.param(
        "direct-tcpip.request",
        {**TUNNEL, "src_ip": "10.0.0.1", "src_port": 1},
        lambda s: (s.tunnels, addresses(s)),
        ([TunnelSeen(**base(dst_ip="203.0.113.5", dst_port=25))], [None] * 5),
        id="Cowrie 2: a tunnel's origin under src_ip is not the attacker",
    ),
    pytest.param(
        "direct-tcpip.request",
        {**TUNNEL, "orig_ip": "", "orig_port": 0, "src_ip": "198.51.100.7"},
        lambda s: s.tunnels,
        [TunnelSeen(**base(dst_ip="203.0.113.5", dst_port=25))],
        id="Cowrie 3: a tunnel's origin under orig_ip",
    ),
    pytest.param(
        "direct-tcpip.request",
        {"dst_ip": "mail.example.com", "dst_port": 25},
        lambda s: s.tunnels[0].dst_ip,
        "mail.example.com",
        id="a tunnel to a name",
    ),
    pytest.param(
        "direct-tcpip.data",
        {**TUNNEL, "data": "b'GET /'", "id": 0},
        lambda s: (s.tunnels, addresses(s)),
        ([], [None] * 5),
        id="what a tunnel carries",
    ),
    pytest.param(
        "direct-tcpip.ja4h",
        {**TUNNEL, "ja4h": "ge11nn"},
        lambda s: (s.tunnels, addresses(s)),
        ([], [None] * 5),
        id="a fingerprint of what a tunnel carries",
    ),
    pytest.param("log.open", {"ttylog": "tty/1"}, nothing_but_counted, True, id="a recording that begins"),
    pytest.param(
        "log.closed",
        {"ttylog": "tty/1", "size": 96, "shasum": SHA, "duplicate": True, "duration_ms": 21},
        nothing_but_counted,
        True,
        id="Cowrie 3: a recording's size, digest and duration are not the session's",
    ),
    pytest.param(
        "log.closed",
        {"ttylog": "tty/1", "size": 96, "shasum": SHA, "duration": 1.5},
        nothing_but_counted,
        True,
        id="Cowrie 2: a recording's duration in seconds is not the session's",
    ),
    pytest.param(
        "session.closed",
        {"duration_ms": 35},
        lambda s: (s.closed_at, s.duration_ms),
        (AT, First(AT, 35)),
        id="Cowrie 3: an end, in milliseconds",
    ),
    pytest.param(
        "session.closed",
        {"duration": 2.2505},
        lambda s: s.duration_ms,
        First(AT, 2250),
        id="Cowrie 1: an end, in seconds as a float",
    ),
    pytest.param(
        "session.closed",
        {"duration": "3.1"},
        lambda s: s.duration_ms,
        First(AT, 3100),
        id="Cowrie 2: an end, in seconds as text",
    ),
    pytest.param(
        "session.file_download",
        {"url": "http://192.0.2.9/x", "shasum": SHA, "late": True},
        lambda s: s.downloads,
        1,
        id="Cowrie 3: a download that ends after its session",
    ),
    pytest.param(
        "telnet.exploit_attempt",
        {"cve": "CVE-2026-24061", "name": "USER", "value": "-f root"},
        nothing_but_counted,
        True,
        id="an attempt on telnet",
    ),
    pytest.param(
        "virustotal.scanfile",
        {"sha256": SHA, "is_new": "false", "positives": 3, "total": 60},
        nothing_but_counted,
        True,
        id="a plugin's event",
    ),
    pytest.param(
        "reversedns.connect",
        {"src_ip": "192.0.2.9", "ptr": "x.example.com"},
        lambda s: s.kinds,
        {"cowrie.reversedns.connect": 1},
        id="an event of a kind that nobody has heard of",
    ),
]


@pytest.mark.parametrize(("kind", "fields", "look", "expected"), SHAPES)
def test_a_shape_is_an_event_and_lands_in_its_field(
    kind: str, fields: dict[str, object], look: Look, expected: object
) -> None:
    line = json.dumps({"session": "s", "eventid": f"cowrie.{kind}", "sensor": "vm", "timestamp": AT, **fields}).encode()
    state = folded(line)
    assert read_places([line]) == [("vm", "s")]
    assert (state.event_count, state.kinds, state.first_event_at) == (1, {f"cowrie.{kind}": 1}, AT)
    assert look(state) == expected


TIMES = [
    pytest.param({"timestamp": "2026-11-23T03:43:43.270739Z"}, id="text in UTC"),
    pytest.param({"timestamp": "2026-11-23T05:43:43.270739+0200"}, id="text with an offset"),
    pytest.param({"timestamp": "2026-11-23T05:43:43.270739+02:00"}, id="text with an offset that has a colon"),
    pytest.param({"timestamp": "2026-11-23T03:43:43.270739"}, id="text without a zone, which is UTC"),
    pytest.param({"timestamp": 1795405423.270739}, id="a number of seconds"),
    pytest.param({"timestamp": "1795405423.270739"}, id="a number of seconds as text"),
    pytest.param({"time": 1795405423.270739}, id="a number of seconds under time"),
    pytest.param({"timestamp": "2026-11-23T03:43:43.270739Z", "time": 1.0}, id="text beside another number under time"),
    pytest.param({"timestamp": "2026-11-23T03:43:43.270739Z", "epoch": 1795405423270}, id="text beside an epoch"),
]


@pytest.mark.parametrize("time", TIMES)
def test_every_form_of_a_time_is_the_same_time(time: dict[str, object]) -> None:
    line = json.dumps({"session": "s", "eventid": "cowrie.session.connect", "sensor": "vm", **time}).encode()
    state = folded(line)
    assert state.first_event_at == state.last_event_at == AT
    assert read_envelope(line).timestamp == AT


def test_what_comes_after_the_end_belongs_to_the_session_and_does_not_move_its_end() -> None:
    end = {"eventid": "cowrie.session.closed", "timestamp": "2026-11-23T03:43:50Z", "duration_ms": 7000}
    late = {
        "eventid": "cowrie.session.file_download",
        "timestamp": "2026-11-23T03:43:59Z",
        "url": "http://192.0.2.9/x",
        "late": True,
    }
    state = folded(*(json.dumps({"session": "s", **fields}).encode() for fields in (end, late)))
    assert (state.closed_at, state.last_event_at) == ("2026-11-23T03:43:50.000000Z", "2026-11-23T03:43:59.000000Z")
    assert (state.duration_ms, state.downloads) == (First("2026-11-23T03:43:50.000000Z", 7000), 1)


def folded(*lines: bytes) -> SessionState:
    session = SessionFold(SessionState("vm", "s"))
    assert session.apply(source="log", positions=range(5, 5 + len(lines)), events=lines) == []
    return session.state()
