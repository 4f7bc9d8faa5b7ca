"""AT Protocol: laws of trees, commits, labels and records, and that no bytes whatever do more than be refused."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from hashlib import sha256
from itertools import permutations
from random import Random
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.atproto.protocol.car import CarError, read_car
from producers.atproto.protocol.cbor import CborError, skim
from producers.atproto.protocol.cids import Cid, cid_of, cid_text
from producers.atproto.protocol.commits import commit_record
from producers.atproto.protocol.failures import Consequence, Invalid
from producers.atproto.protocol.faults import Refusal
from producers.atproto.protocol.framing import FrameError
from producers.atproto.protocol.labels import LabelError, label_problem, newer, read_label
from producers.atproto.protocol.messages import (
    CommitMessage,
    LabelsMessage,
    SyncMessage,
    account_of,
    identity_of,
    read_message,
)
from producers.atproto.protocol.mst import MstError, decode_node, layer_of, walk
from producers.atproto.protocol.records import RecordError, record_json
from producers.atproto.protocol.trees import Tree, build
from producers.atproto.protocol.validation import Known, Level, Standing, validate_commit, validate_sync
from tallystick.contracts.atproto import Label, encode
from tallystick.contracts.tids import is_tid, tid_at, tid_microseconds
from tests.atproto_world import (
    LABELER,
    NOW_US,
    Repository,
    car,
    cbor,
    content,
    frame,
    frames,
    keys,
    tree_by_the_book,
)

# Keys of all layers up to 4 in equal parts: drawn at random, nearly all would lie in the lowest.
_BY_LAYER: dict[int, list[str]] = {}
for _number in range(20_000):
    _key = f"app.bsky.feed.post/{_number:05d}"
    _BY_LAYER.setdefault(layer_of(_key.encode()), []).append(_key)
PATHS = st.integers(0, 4).flatmap(lambda layer: st.sampled_from(_BY_LAYER[layer][:12]))
CIDS = st.binary(max_size=2).map(cid_of)
RECORDS = st.dictionaries(PATHS.map(str.encode), CIDS, max_size=40)


@settings(max_examples=100, deadline=None)
@given(records=RECORDS, order=st.randoms(use_true_random=False))
def test_a_set_of_records_has_one_tree_in_whatever_order_they_come(records: dict[bytes, Cid], order: Random) -> None:
    root, blocks = tree_by_the_book(records)
    shuffled = list(records.items())
    order.shuffle(shuffled)
    assert build(dict(shuffled)) == root
    assert [*walk(root, blocks.get, max_nodes=1000)] == sorted((key.decode(), cid) for key, cid in records.items())


@settings(max_examples=100, deadline=None)
@given(records=RECORDS, changes=st.dictionaries(PATHS.map(str.encode), st.none() | CIDS, max_size=20))
def test_a_tree_that_was_changed_is_the_tree_of_the_changed_records(
    records: dict[bytes, Cid], changes: dict[bytes, Cid | None]
) -> None:
    root, blocks = tree_by_the_book(records)
    tree = Tree(root, blocks.get)
    changed = dict(records)
    for key, cid in changes.items():
        assert tree.find(key) == changed.get(key)
        if cid is None:
            if changed.pop(key, None):
                tree.remove(key)
        elif key in changed:
            tree.replace(key, cid)
            changed[key] = cid
        else:
            tree.insert(key, cid)
            changed[key] = cid
        assert tree.find(key) == cid
    assert tree.root() == tree_by_the_book(changed)[0]


CHANGES = st.lists(
    st.dictionaries(PATHS, st.none() | st.integers(0, 5).map(lambda n: {"n": n}), min_size=1, max_size=8),
    min_size=1,
    max_size=5,
)


def bodies(repository: Repository, changes: list[dict[str, dict[str, int] | None]]) -> list[dict[str, object]]:
    """Return the commits of `changes`, without those that would change nothing."""
    made = [repository.commit({})]
    for change in changes:
        useful = {
            path: record
            for path, record in change.items()
            if (path in repository.records if record is None else repository.records.get(path) != cid_of(cbor(record)))
        }
        made.append(repository.commit(useful))
    return made


def read(body: dict[str, object]) -> CommitMessage:
    message = read_message(frame("#commit", body))
    assert isinstance(message, CommitMessage)
    return message


@settings(max_examples=40, deadline=None)
@given(changes=CHANGES)
def test_all_commits_of_an_honest_repository_are_valid_and_add_up(
    changes: list[dict[str, dict[str, int] | None]],
) -> None:
    repository = Repository()
    known, folded = None, dict[str, str]()
    for body in bodies(repository, changes):
        commit = validate_commit(
            read(body), level=Level.INDUCTIVE, now_us=NOW_US, standing=Standing(repository.key), known=known
        )
        known = Known(commit.message.rev, commit.signed.data)
        for op in commit_record(commit, host="h", live=True).ops:
            folded[op.path] = op.cid
    assert {path: cid for path, cid in folded.items() if cid} == {
        path: cid_text(cid) for path, cid in repository.records.items()
    }


@settings(max_examples=40, deadline=None)
@given(changes=CHANGES, data=st.data())
def test_an_operation_that_is_hidden_or_made_up_is_found(
    changes: list[dict[str, dict[str, int] | None]], data: st.DataObject
) -> None:
    repository = Repository()
    body = data.draw(st.sampled_from(bodies(repository, changes)[1:]))
    ops: list[object] = list(body["ops"])  # type: ignore[call-overload]
    if hidden := data.draw(st.integers(0, len(ops))):
        ops.pop(hidden - 1)
    else:
        path = data.draw(st.sampled_from(["a.b.c/made", "zz.b.c/up"]))
        ops = [*ops, {"action": "delete", "path": path, "cid": None, "prev": cid_of(b"x")}]
    message = read({**body, "ops": ops})
    with pytest.raises(Invalid) as raised:
        validate_commit(message, level=Level.INDUCTIVE, now_us=NOW_US, standing=Standing(repository.key))
    assert raised.value.consequence is Consequence.RESYNC


@settings(max_examples=40, deadline=None)
@given(changes=CHANGES, data=st.data())
def test_a_commit_is_valid_with_the_blocks_that_prove_it_and_with_none_of_them_less(
    changes: list[dict[str, dict[str, int] | None]], data: st.DataObject
) -> None:
    repository = Repository()
    message = read(bodies(repository, changes)[-1])
    whole = read_car(message.blocks, max_bytes=2_000_000, max_blocks=1000)
    asked: dict[Cid, bytes] = {}

    def get(cid: Cid) -> bytes | None:
        if block := whole.get(cid):
            asked[cid] = block
        return block

    tree = Tree(repository.data or b"", get)
    for op in message.ops:
        tree.find(op.path.encode())
    for op in message.ops:
        if op.action == "create":
            tree.remove(op.path.encode())
        elif op.action == "delete":
            tree.insert(op.path.encode(), op.prev or b"")
    asked |= {cid: whole.get(cid) or b"" for cid in [message.commit, *(op.cid for op in message.ops if op.cid)]}

    def validate(blocks: dict[Cid, bytes]) -> None:
        partial = read({**frame_fields(message), "blocks": car(message.commit, blocks)})
        validate_commit(partial, level=Level.INDUCTIVE, now_us=NOW_US, standing=Standing(repository.key))

    validate(asked)
    missing = data.draw(st.sampled_from(sorted(asked)))
    with pytest.raises(Invalid):
        validate({cid: block for cid, block in asked.items() if cid != missing})


def frame_fields(message: CommitMessage) -> dict[str, object]:
    """Return the body of a message again."""
    body = {
        "seq": message.seq,
        "repo": message.repo,
        "commit": message.commit,
        "rev": message.rev,
        "since": message.since,
        "ops": [
            {"action": op.action.value, "path": op.path, "cid": op.cid, **({"prev": op.prev} if op.prev else {})}
            for op in message.ops
        ],
    }
    return {**body, "prevData": message.prev_data} if message.prev_data else body


CAPTURED = [*frames("repos.bin")][::7] + [*frames("labels.bin")][::10] + [*frames("err_future_cursor.bin")]
KEYS = keys()
CAR = content("repo_nqcnfmaijkpblruu3gbi5unr.car")


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return `whole` with bytes changed, left out, put in, or taken from elsewhere in it."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("change", "cut", "insert", "end", "splice"))):
            case "change" if data:
                data[at] = draw(st.sampled_from(b"\0\1\x1b\x40\x5a\x7f\x80\x9f\xbf\xd8\xf6\xfb\xff"))
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=40))
            case "end":
                del data[at:]
            case _:
                other = draw(st.integers(0, len(whole) - 1))
                data[at : at + 36] = whole[other : other + 36]
    return bytes(data)


@contextmanager
def only(*refusals: type[Refusal[Any]]) -> Iterator[None]:
    """Let nothing but these refusals happen, and look at what they say."""
    said = "nothing"
    try:
        yield
    except refusals as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 500


def use(raw: bytes) -> None:
    """Do all that is done with a frame, at every level; only refusals may come of it."""
    message: object = None
    with only(FrameError):
        message = read_message(raw)
    for level in Level:
        with only(Invalid):
            if isinstance(message, CommitMessage):
                standing = Standing(KEYS.get(message.repo))
                commit = validate_commit(message, level=level, now_us=NOW_US, standing=standing)
                encode(commit_record(commit, host="h", live=True))
            elif isinstance(message, SyncMessage):
                validate_sync(message, level=level, now_us=NOW_US, standing=Standing(KEYS.get(message.did)))
    if isinstance(message, LabelsMessage):
        for fields in message.labels:
            with only(LabelError):
                label_problem(read_label(fields, host="h", seq=message.seq), KEYS[LABELER])


@settings(max_examples=400, deadline=None)
@given(raw=st.sampled_from(CAPTURED).flatmap(damaged))
def test_a_damaged_frame_is_read_or_refused(raw: bytes) -> None:
    use(raw)


VALUES: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | CIDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("seq", "did", "repo", "rev", "since", "commit", "blocks", "ops", "time", "active", "handle", "labels", "name")


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(("#commit", "#sync", "#identity", "#account", "#info", "#labels", "#new")),
    body=st.dictionaries(st.sampled_from(NAMES), VALUES),
)
def test_a_body_of_anything_is_read_or_refused(kind: str, body: dict[str, object]) -> None:
    use(frame(kind, body))


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    use(raw)
    for read_it in (skim, record_json, decode_node):
        with only(CborError, RecordError, MstError):
            read_it(raw)


@settings(max_examples=300, deadline=None)
@given(raw=damaged(CAR))
def test_a_damaged_car_is_indexed_or_refused_and_no_damage_to_a_block_is_overlooked(raw: bytes) -> None:
    with only(CarError, MstError):
        found = read_car(raw, max_bytes=100_000, max_blocks=1000)
        found.check_hashes()
        assert all(sha256(found.get(cid) or b"").digest() == cid[4:] for cid in found.spans)
        list(walk(found.root, found.get, max_nodes=1000))


@settings(max_examples=100, deadline=None)
@given(value=VALUES, behind=st.binary(max_size=5))
def test_skimming_finds_the_end_of_whatever_is_valid(value: object, behind: bytes) -> None:
    raw = cbor(value)
    assert skim(raw + behind) == len(raw)
    assert skim(b"\0" + raw, 1) == len(raw) + 1


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=60))
def test_where_skimming_finds_an_end_a_decoder_needs_no_more_bytes(raw: bytes) -> None:
    with only(CborError):
        end = skim(raw)
        assert 0 < end <= len(raw)
        problem: Exception | None = None
        try:
            cbor2.loads(raw[:end], tag_hook=lambda tag, _immutable: tag.value)
        except (cbor2.CBORError, ValueError, TypeError) as error:
            problem = error
        assert not isinstance(problem, cbor2.CBORDecodeEOF)


def as_json(value: object) -> object:
    """Return a value of the data model as its JSON has it."""
    match value:
        case bytes() if len(value) == 36:
            return {"$link": cid_text(value)}
        case bytes():
            return {"$bytes": b64encode(value).decode().rstrip("=")}
        case list():
            return [as_json(item) for item in value]
        case dict():
            return {key: as_json(item) for key, item in value.items()}
        case _:
            return value


@settings(max_examples=100, deadline=None)
@given(record=st.dictionaries(st.text(max_size=5), VALUES, max_size=3))
def test_the_json_of_a_record_says_what_the_record_says(record: dict[str, object]) -> None:
    assert json.loads(record_json(cbor(record))) == as_json(record)


@settings(max_examples=200, deadline=None)
@given(one=st.integers(0, (1 << 53) - 1), other=st.integers(0, (1 << 53) - 1), clock=st.integers(0, 1023))
def test_tids_sort_as_their_times(one: int, other: int, clock: int) -> None:
    assert is_tid(tid_at(one, clock))
    assert tid_microseconds(tid_at(one, clock)) == one
    assert (tid_at(one, clock) < tid_at(other, clock)) is (one < other)


LABELS = st.builds(
    lambda minute, neg, sig: read_label(
        {
            "src": "did:plc:x",
            "uri": "did:plc:y",
            "val": "spam",
            "cts": f"2026-11-23T03:{minute:02}:00Z",
            **({"neg": True} if neg else {}),
            "sig": sig,
        },
        host="h",
        seq=1,
    ),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([b"a" * 64, b"b" * 64]),
)


@settings(max_examples=100, deadline=None)
@given(labels=st.lists(LABELS, min_size=1, max_size=4))
def test_the_same_label_counts_in_whichever_order_labels_come(labels: list[Label]) -> None:
    assert len({encode(reduce(newer, order)) for order in permutations(labels)}) == 1


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=30))
def test_nothing_that_a_host_says_of_an_account_reaches_kafka_with_control_characters(text: str) -> None:
    did = "did:plc:x"
    for kind, body in (
        ("#identity", {"seq": 1, "did": did, "handle": text, "time": text}),
        ("#account", {"seq": 1, "did": did, "active": True, "status": text, "time": text}),
    ):
        message = read_message(frame(kind, body))
        made = account_of(message, "h") if kind == "#account" else identity_of(message, "h")  # type: ignore[arg-type]
        assert encode(made).decode("ascii").isprintable()
