"""AT Protocol: a repository's CAR becomes slices, and what a hostile one holds becomes a reason."""

from collections.abc import Mapping

import msgspec
import pytest
import xxhash

from producers.atproto.backfill import snapshots
from producers.atproto.backfill.snapshots import Snapshot, Wanted, check_signature, open_repository
from producers.atproto.protocol.car import read_car
from producers.atproto.protocol.cids import Cid, cid_of, cid_text
from producers.atproto.protocol.faults import Refusal
from producers.atproto.protocol.mst import walk
from tallystick.contracts import slices
from tallystick.contracts.atproto import End, Stored, decode_snapshot_line
from tallystick.contracts.tids import tid_at
from tests.atproto_world import NOW_US, Repository, car, cbor, content, keys, node

CAPTURED = {
    "did:plc:bsdmsjac7qp424cacihbdkwz": "repo_bsdmsjac7qp424cacihbdkwz.car",
    "did:plc:nqcnfmaijkpblruu3gbi5unr": "repo_nqcnfmaijkpblruu3gbi5unr.car",
}
ALL = Wanted()


def snapshot(data: bytes, did: str, wanted: Wanted = ALL) -> tuple[Snapshot, list[Stored], End]:
    """Return a snapshot that was made, its records and its end; slices must follow each other."""
    opened = open_repository(data, did, max_bytes=10**8, now_us=NOW_US)
    made = Snapshot(opened, wanted, source=did, attempt=7)
    lines: list[Stored | End] = []
    for piece in filter(None, made.steps(check_hashes=True)):
        found = slices.decode(piece.value, piece.headers)
        headers = dict(piece.headers)
        assert (found.source, found.low, headers["attempt"]) == (did, len(lines), b"7")
        assert headers["rev"] == opened.signed.rev.encode()
        assert list(found.positions) == list(range(len(lines), len(lines) + len(found.events)))
        lines += map(decode_snapshot_line, found.events)
    *records, end = lines
    assert isinstance(end, End)
    assert made.lines == len(lines)
    return made, [record for record in records if isinstance(record, Stored)], end


@pytest.mark.parametrize("did", CAPTURED)
def test_a_captured_repository_is_told_record_for_record(did: str) -> None:
    data = content(CAPTURED[did])
    opened = open_repository(data, did, max_bytes=len(data), now_us=NOW_US)
    check_signature(opened.signed, keys()[did], "")
    made, records, end = snapshot(data, did)
    index = read_car(data, max_bytes=len(data), max_blocks=10_000)
    expected = [(path, cid_text(cid)) for path, cid in walk(opened.signed.data, index.get, max_nodes=1000)]
    assert [(f"{record.collection}/{record.rkey}", record.cid) for record in records] == expected
    assert {record.problem for record in records} == {""}
    assert end == End(cid_text(opened.signed.cid), cid_text(opened.signed.data), len(expected))
    assert made.digest == f"root:{end.data}"


def test_large_repositories_are_several_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SLICE_BYTES", 300)
    repository = Repository()
    repository.commit({f"app.test/{number:03}": {"text": "x" * 50} for number in range(40)})
    _, records, end = snapshot(repository.export(), repository.did)
    assert end.records == len(records) == 40


def test_an_empty_repository_is_its_end_alone() -> None:
    repository = Repository()
    repository.commit({"app.test/a": {"n": 1}})
    repository.commit({"app.test/a": None})
    _, records, end = snapshot(repository.export(), repository.did)
    assert (records, end.records, end.whole) == ([], 0, True)


def test_a_record_that_can_not_be_shown_has_a_problem_and_takes_no_other_with_it() -> None:
    repository = Repository()
    repository.commit({"app.test/a": {"n": 1}, "app.test/b": {"text": "x" * 1_100_000}})
    _, (good, bad), _ = snapshot(repository.export(), repository.did)
    assert good.record == msgspec.Raw(b'{"n":1}')
    assert bad.problem.startswith("record_too_large")


def lines_digest(records: list[Stored]) -> str:
    text = "".join(sorted(f"{record.collection}/{record.rkey} {record.cid}\n" for record in records))
    return f"lines:{xxhash.xxh3_64_hexdigest(text.encode())}"


def test_of_some_collections_only_their_records_are_told() -> None:
    repository = Repository()
    repository.commit({f"{collection}/a": {"n": 1} for collection in ("app.bsky.feed.post", "app.bsky.x", "net.b")})
    wanted = Wanted((("app.bsky.*",), ("*.post", "net.b")))
    made, records, end = snapshot(repository.export(), repository.did, wanted)
    assert [record.collection for record in records] == ["app.bsky.feed.post"]
    assert (end.whole, made.digest) == (False, lines_digest(records))
    assert end.collections == wanted.collections
    _, _, end = snapshot(repository.export(), repository.did, Wanted(wanted.collections, since=repository.rev or ""))
    assert end.collections == (), "it may lack some of them"


def test_what_changed_since_a_revision_is_told_where_it_is_there() -> None:
    repository = Repository()
    repository.commit({f"app.test/{number:04}": {"n": number} for number in range(300)})
    before = set(read_car(repository.export(), max_bytes=10**7, max_blocks=10**5).spans)
    since = repository.rev or ""
    repository.commit({"app.test/0007": {"n": -7}, "app.test/9999": {"n": 9999}, "app.test/0100": None})
    index = read_car(repository.export(), max_bytes=10**7, max_blocks=10**5)
    changed = {cid: index.get(cid) or b"" for cid in index.spans if cid not in before}
    made, records, end = snapshot(car(index.root, changed), repository.did, Wanted(since=since))
    assert {record.rkey for record in records} == {"0007", "9999"}
    assert (end.whole, made.digest) == (False, lines_digest(records))


class Hostile:
    """CARs by somebody who signs well, and means ill."""

    def __init__(self) -> None:
        self.repository = Repository("mallory")
        self.record = cbor({"n": 1})

    def signed(self, data: Cid, blocks: Mapping[Cid, bytes], **changes: object) -> bytes:
        commit = self.repository.sign(
            {"did": self.repository.did, "version": 3, "rev": tid_at(NOW_US), "prev": None, "data": data, **changes}
        )
        return car(cid_of(commit), {cid_of(commit): commit, **blocks})

    def tree(self, block: bytes, **changes: object) -> bytes:
        return self.signed(cid_of(block), {cid_of(block): block, cid_of(self.record): self.record}, **changes)


H = Hostile()
LEAF = node(None, (0, b"app.test/a", cid_of(H.record), None))
GOOD = H.tree(LEAF)
LOOP = cid_of(b"loop")
HOSTILE = [
    pytest.param(b"", "car_truncated", id="nothing"),
    pytest.param(b"<html>sorry</html>", "car_truncated", id="a page of HTML"),
    pytest.param(GOOD[:-3], "car_truncated", id="cut off within a block"),
    pytest.param(GOOD[: -len(H.record) - 37], "record_missing", id="cut off between blocks"),
    pytest.param(H.signed(cid_of(LEAF), {}), "node_missing", id="without a tree"),
    pytest.param(GOOD[:-1] + b"\x02", "block_hash_wrong", id="a block that was changed"),
    pytest.param(H.tree(LEAF, did="did:plc:another"), "did_differs", id="another account's"),
    pytest.param(H.tree(LEAF, rev="tomorrow"), "rev_malformed", id="a revision that is none"),
    pytest.param(H.tree(LEAF, rev=tid_at(NOW_US + 10**15)), "rev_in_the_future", id="from the future"),
    pytest.param(H.tree(LEAF, version=2), "commit_unreadable", id="version 2"),
    pytest.param(car(cid_of(LEAF), {cid_of(LEAF): LEAF}), "commit_unreadable", id="a root that is no commit"),
    pytest.param(H.tree(H.record), "node_unreadable", id="a tree that is none"),
    pytest.param(
        H.tree(node(None, (0, b"app.test/b", cid_of(H.record), None), (0, b"app.test/a", cid_of(H.record), None))),
        "keys_out_of_order",
        id="keys that descend",
    ),
    pytest.param(H.signed(LOOP, {LOOP: node(LOOP)}), "block_hash_wrong", id="a tree that is its own branch"),
    pytest.param(H.tree(node(cid_of(LEAF))), "key_in_wrong_layer", id="a root without keys"),
]


@pytest.mark.parametrize(("data", "reason"), HOSTILE)
def test_a_hostile_car_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Refusal) as raised:
        snapshot(data, H.repository.did)
    assert raised.value.reason.value == reason


def test_a_good_one_of_theirs_is_none_the_less_taken() -> None:
    assert len(snapshot(GOOD, H.repository.did)[1]) == 1


def test_one_block_that_many_paths_name_does_not_become_all_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_FREE_BYTES", 10_000)
    record = cbor({"text": "x" * 5000})
    repository = Repository()
    repository.commit({f"app.test/{number}": {"text": "x" * 5000} for number in range(100)})
    assert len(set(repository.records.values())) == 1
    assert cid_of(record) in repository.blocks
    with pytest.raises(Refusal, match="snapshot_too_large"):
        snapshot(repository.export(), repository.did)


def test_a_signature_of_somebody_else_and_one_without_a_key_do_not_hold() -> None:
    signed = open_repository(GOOD, H.repository.did, max_bytes=10**6, now_us=NOW_US).signed
    check_signature(signed, H.repository.key, "")
    with pytest.raises(Refusal, match="signature_wrong: signature_wrong"):
        check_signature(signed, Repository("other").key, "")
    with pytest.raises(Refusal, match="signature_wrong: key_absent"):
        check_signature(signed, None, "key_absent")
