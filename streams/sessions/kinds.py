"""What each kind of event adds to a session: one function a kind, and the table that names them.

Each takes the aggregate, the event, its canonical time, its position, and `new`: 1, or 0 for a repeat.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from streams.sessions.aggregate import Aggregate
from streams.sessions.commands import read_command
from streams.sessions.events import Event
from streams.sessions.ssh_keys import InjectedKey
from streams.sessions.values import earlier, file_name, fit, milliseconds, port, whole
from tallystick.contracts.cowrie import CommandSeen, FileSeen, InjectedSeen, KeySeen, LoginSeen, TunnelSeen
from tallystick.contracts.risk import is_command, of_kind

Adder = Callable[[Aggregate, Event, str, int, int], None]

MAX_URL_CHARS = 1_024


def add_events(
    session: Aggregate, positions: Sequence[int], events: Sequence[Event], times: Sequence[str], news: Sequence[int]
) -> None:
    """Add events to a session, at least one: what every event tells, and what its kind tells."""
    session.count(events, times, news)
    greatest = 0
    for position, event, at, new in zip(positions, events, times, news, strict=True):
        points, add = _KINDS.get(event.eventid) or _unknown_kind(event.eventid)
        if points > greatest:
            greatest = points
        if add is not None:
            add(session, event, at, position, new)
    session.risk(greatest)


def _add_command(session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    failed = new if event.eventid == "cowrie.command.failed" else 0
    session.state.command_count += new
    session.state.command_failed += failed
    normalized, cut_chars, risk, keys = read_command(event.input or "")
    if not normalized:
        return
    session.risk(risk)
    if keys and event.eventid == "cowrie.command.input":
        _add_injected(session, keys, at, position, new)
    seen = session.see("commands", CommandSeen(new, at, at, position, normalized=normalized), new)
    if seen is None:
        return
    if event.eventid == "cowrie.command.input":
        seen.typed += new
    else:
        seen.reported += new
        seen.failed += failed
    seen.occurrences = max(seen.typed, seen.reported)
    if risk:
        seen.high_risk = True
    if cut_chars > seen.cut_chars:
        seen.cut_chars = cut_chars


def _add_injected(session: Aggregate, keys: tuple[InjectedKey, ...], at: str, position: int, new: int) -> None:
    for key in keys:
        seen = InjectedSeen(
            new,
            at,
            at,
            position,
            type=key.type,
            blob=key.blob,
            fingerprint=key.fingerprint,
            comment=key.comment,
            method=key.method,
            path=key.path,
            bits=key.bits,
            complete=key.complete,
        )
        session.see("injected", seen, new)


def _add_login(session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    state = session.state
    state.login_attempts += new
    succeeded = event.eventid == "cowrie.login.success"
    if succeeded:
        state.login_succeeded += new
    elif event.eventid == "cowrie.login.failed":
        state.login_failed += new
    else:
        return
    (username, cut), (password, password_cut) = fit(event.username), fit(event.password)
    login = LoginSeen(new, at, at, position, username=username, password=password, succeeded=succeeded)
    if event.fingerprint:
        login.fingerprint = fit(event.fingerprint)[0]
        _add_key(session, event, at, position, new)
    seen = session.see("logins", login, new)
    if seen is not None and (cut or password_cut):
        seen.cut_chars = max(seen.cut_chars, cut + password_cut)


def _add_key(session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    fingerprint, kind, username = fit(event.fingerprint)[0], fit(event.type)[0], fit(event.username)[0]
    if fingerprint:
        key = KeySeen(new, at, at, position, fingerprint=fingerprint, type=kind, username=username)
        session.see("keys", key, new)


def _add_download(session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    session.state.downloads += new
    _add_file("download", session, event, at, position, new)


def _add_failed_download(session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    session.state.downloads_failed += new
    _add_file("download_failed", session, event, at, position, new)


def _add_upload(session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    session.state.uploads += new
    _add_file("upload", session, event, at, position, new)


def _add_file(how: str, session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    (shasum, shasum_cut), (url, url_cut) = fit(event.shasum), fit(event.url, MAX_URL_CHARS)
    filename, filename_cut = fit(file_name(event))
    if not (shasum or url or filename):
        return
    file = FileSeen(new, at, at, position, how=how, shasum=shasum, url=url, filename=filename)
    seen = session.see("files", file, new)
    if seen is None:
        return
    size = whole(event.size)
    if size is not None:
        seen.size = max(size, seen.size or 0)
    seen.cut_chars = max(seen.cut_chars, shasum_cut + url_cut + filename_cut)


def _add_tunnel(session: Aggregate, event: Event, at: str, position: int, new: int) -> None:
    session.state.tunnel_count += new
    target = fit(event.dst_ip)[0]
    if target:
        session.see("tunnels", TunnelSeen(new, at, at, position, dst_ip=target, dst_port=port(event.dst_port)), new)


def _add_version(session: Aggregate, event: Event, at: str, _position: int, _new: int) -> None:
    session.state.client_version = earlier(session.state.client_version, at, fit(event.version)[0])


def _add_hassh(session: Aggregate, event: Event, at: str, _position: int, _new: int) -> None:
    session.state.hassh = earlier(session.state.hassh, at, fit(event.hassh)[0])


def _add_arch(session: Aggregate, event: Event, at: str, _position: int, _new: int) -> None:
    session.state.arch = earlier(session.state.arch, at, fit(event.arch)[0])


def _add_end(session: Aggregate, event: Event, at: str, _position: int, _new: int) -> None:
    state = session.state
    state.closed_at = min(at, state.closed_at or at)
    state.duration_ms = earlier(state.duration_ms, at, milliseconds(event))


_ADDERS: dict[str, Adder | None] = {
    "cowrie.session.connect": None,
    "cowrie.session.closed": _add_end,
    "cowrie.session.params": _add_arch,
    "cowrie.client.version": _add_version,
    "cowrie.client.kex": _add_hassh,
    "cowrie.client.fingerprint": _add_key,
    "cowrie.login.success": _add_login,
    "cowrie.login.failed": _add_login,
    "cowrie.command.input": _add_command,
    "cowrie.command.failed": _add_command,
    "cowrie.session.file_download": _add_download,
    "cowrie.session.file_download.failed": _add_failed_download,
    "cowrie.session.file_upload": _add_upload,
    "cowrie.direct-tcpip.request": _add_tunnel,
    "cowrie.log.closed": None,
}
_KINDS = {eventid: (of_kind(eventid), add) for eventid, add in _ADDERS.items()}


@lru_cache(maxsize=1_024)
def _unknown_kind(eventid: str) -> tuple[int, Adder | None]:
    """Return what a kind without an adder of its own is worth, and the adder that its name suggests."""
    add = None
    if is_command(eventid):
        add = _add_command
    elif eventid.startswith("cowrie.login"):
        add = _add_login
    return of_kind(eventid), add
