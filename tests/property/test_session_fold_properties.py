"""The fold is commutative, idempotent and total: what holds for every order, slicing, repetition and every bytes."""

import json
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sessions import aggregate, bounded
from streams.sessions.bounded import Bound
from streams.sessions.fold import SessionFold
from tallystick.contracts.cowrie import (
    Envelope,
    SessionState,
    UnreadableLine,
    decode_state,
    encode_state,
    read_envelope,
)
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import canonical, render

Delivery = tuple[str, list[int], list[bytes]]

KINDS = [
    "cowrie.session.connect",
    "cowrie.session.closed",
    "cowrie.client.version",
    "cowrie.client.fingerprint",
    "cowrie.login.failed",
    "cowrie.login.success",
    "cowrie.command.input",
    "cowrie.command.failed",
    "cowrie.session.file_download",
    "cowrie.session.file_upload",
    "cowrie.direct-tcpip.request",
    "cowrie.virustotal.scanfile",
]
INJECTION = "echo ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ me >> .ssh/authorized_keys"
TEXTS = st.sampled_from(
    [
        INJECTION,
        f"{INJECTION} && reboot",
        "a",
        "b",
        "a  b",
        "wget x",
        "\x00",
        "\ud800",
        "☃",
        "",
        "d" * 40,
        "e" * 70,
        "c" * 5_000,
    ]
)
PORTS = st.sampled_from([0, 22, 23, 70_000])
TIMES = st.sampled_from(
    ["2026-11-23T03:43:43.000000Z", "2026-11-23T03:43:44Z", "2026-11-23T04:43:43+01:00", 1_795_000_000]
)
EVENTS = st.fixed_dictionaries(
    {"eventid": st.sampled_from(KINDS), "timestamp": TIMES},
    optional={
        **dict.fromkeys(
            ["input", "username", "password", "fingerprint", "shasum", "url", "version", "protocol"], TEXTS
        ),
        **dict.fromkeys(["src_ip", "dst_ip"], st.sampled_from(["192.0.2.1", "2001:db8::1", "host"])),
        **dict.fromkeys(["src_port", "dst_port", "size", "duration", "duration_ms"], PORTS),
    },
).map(lambda fields: json.dumps(fields).encode())


def fold(deliveries: list[Delivery], *, restarts: bool = False) -> bytes:
    """Fold deliveries, with a fresh fold from the encoded state for each of them where there are `restarts`."""
    session = SessionFold(SessionState("vm", "s"))
    for source, positions, events in deliveries:
        assert session.apply(source=source, positions=positions, events=events) == []
        if restarts:
            session = SessionFold(decode_state(encode_state(session.state())))
    return encode_state(session.state())


@st.composite
def two_histories(draw: st.DrawFn) -> tuple[list[Delivery], list[Delivery]]:
    """Return the events of up to three overlapping sources twice: as they stand, and sliced, shuffled, repeated."""
    events = draw(st.lists(EVENTS, min_size=1, max_size=12, unique=True))
    straight: list[Delivery] = []
    sliced: list[Delivery] = []
    for source in draw(st.sampled_from(["a", "ab", "abc"])):
        held = draw(st.lists(st.sampled_from(events), min_size=1, max_size=12))
        straight.append((source, list(range(len(held))), held))
        cuts = sorted({0, len(held), *draw(st.lists(st.integers(0, len(held)), max_size=3))})
        slices = [(source, list(range(i, k)), held[i:k]) for i, k in pairwise(cuts)]
        sliced += slices + draw(st.lists(st.sampled_from(slices), max_size=3))
    return straight, draw(st.permutations(sliced))


@settings(max_examples=150, deadline=None)
@given(two_histories(), st.booleans())
def test_order_slices_repeats_and_overlaps_leave_no_trace(
    histories: tuple[list[Delivery], list[Delivery]], restarts: bool
) -> None:
    straight, shuffled = histories
    assert fold(shuffled, restarts=restarts) == fold(straight)


@settings(max_examples=150, deadline=None)
@given(two_histories(), st.booleans())
def test_nor_do_they_past_the_bounds(histories: tuple[list[Delivery], list[Delivery]], restarts: bool) -> None:
    straight, shuffled = histories
    tight = {name: Bound(max_bytes=110, entry_bytes=10) for name in aggregate.BOUNDS}
    with patch.dict(aggregate.BOUNDS, tight), patch.object(bounded, "FEW", 0):
        ended = fold(shuffled, restarts=restarts)
        assert ended == fold(straight)
    state = decode_state(ended)
    assert sum(state.kinds.values()) + state.cut.get("kinds", 0) == state.event_count
    assert (
        sum(seen.typed + seen.reported for seen in state.commands) + state.cut.get("commands", 0) <= state.command_count
    )
    assert sum(seen.occurrences for seen in state.logins) + state.cut.get("logins", 0) == state.login_attempts


@settings(max_examples=50, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_every_distinct_event_counts_once(events: list[bytes]) -> None:
    state = decode_state(fold([("log", list(range(len(events))), events)]))
    distinct = [json.loads(line)["eventid"] for line in set(events)]
    assert state.revision == state.event_count == len(distinct)
    assert state.kinds == {kind: distinct.count(kind) for kind in distinct}
    assert state.command_count == sum("cowrie.command" in kind for kind in distinct)
    assert state.login_attempts == state.login_failed + state.login_succeeded
    assert len(state.digests) == 8 * len(distinct)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud800", "\x00", 10**400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = ["eventid", "timestamp", "time", "session", "sensor", "input", "username", "password", "fingerprint", "type"]
VALUES = ["src_ip", "dst_port", "protocol", "message", "size", "duration", "duration_ms", "url", "shasum", "filename"]
HOSTILE = st.builds(
    lambda usual, odd: json.dumps(usual | odd).encode(),
    st.fixed_dictionaries({"eventid": st.sampled_from(KINDS), "timestamp": TIMES}),
    st.dictionaries(st.sampled_from(FIELDS + VALUES), ANYTHING, max_size=5),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    line = draw(HOSTILE)
    start, end = sorted(draw(st.tuples(st.integers(0, len(line)), st.integers(0, len(line)))))
    return line[:start] + draw(st.binary(max_size=3)).replace(b"\n", b"") + line[draw(st.sampled_from([start, end])) :]


def read(line: bytes) -> Envelope | str:
    """Return the envelope of a line, or why it has none."""
    try:
        return read_envelope(line)
    except UnreadableLine as error:
        return error.reason


@settings(max_examples=400, deadline=None)
@given(HOSTILE | damaged() | st.binary(max_size=40))
def test_the_fold_takes_whatever_a_reader_takes(line: bytes) -> None:
    session = SessionFold(SessionState("vm", "s"))
    unfoldable = session.apply(source="log", positions=[7], events=[line])
    state = decode_state(encode_state(session.state()))
    found = read(line)
    if isinstance(found, Envelope):
        assert unfoldable == []
        assert state.kinds == {found.eventid: 1}
        assert state.first_event_at == state.last_event_at == found.timestamp
    elif unfoldable:
        assert [(each.position, each.event, each.reason) for each in unfoldable] == [(7, line, found)]
        assert state == SessionState("vm", "s")
    else:
        # Whose event it is, is told by the record's key; the fold doesn't look.
        assert found.startswith(("session", "sensor"))


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS | HOSTILE | damaged(), max_size=6))
def test_a_slice_is_what_its_events_are_one_by_one(lines: list[bytes]) -> None:
    together, apart = SessionFold(SessionState("vm", "s")), SessionFold(SessionState("vm", "s"))
    unfoldable = together.apply(source="log", positions=range(len(lines)), events=lines)
    assert unfoldable == [
        bad
        for position, line in enumerate(lines)
        for bad in apart.apply(source="log", positions=[position], events=[line])
    ]
    assert encode_state(together.state()) == encode_state(apart.state())


@given(st.text(alphabet=st.characters() | st.sampled_from("\x00\ud800\udcff"), max_size=20))
def test_printable_text_can_be_stored_and_is_final(text: str) -> None:
    stored = printable(text)
    assert "\x00" not in stored
    assert stored.encode().decode() == stored
    assert printable(stored) == stored


@given(st.datetimes(timezones=st.timezones()), st.datetimes(timezones=st.timezones()))
def test_canonical_times_sort_as_times_do(one: Any, other: Any) -> None:
    try:
        first, second = canonical(one.isoformat()), canonical(other.isoformat())
    except ValueError:
        return  # an offset of seconds, or a time outside the years 1 to 9999
    assert (first < second) == (one < other)
    assert first == render(one) == canonical(first)
