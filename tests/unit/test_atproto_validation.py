"""AT Protocol: what each level of validation refuses, with which word, and what follows from it."""

from collections.abc import Callable

import msgspec
import pytest

from producers.atproto.protocol.cids import Cid, cid_from_text, cid_of, cid_text
from producers.atproto.protocol.commits import MAX_COMMIT_BYTES, commit_record
from producers.atproto.protocol.failures import Consequence, Failure, Invalid, consequence_of
from producers.atproto.protocol.messages import CommitMessage, SyncMessage, read_message
from producers.atproto.protocol.mst import EMPTY_TREE
from producers.atproto.protocol.validation import (
    Known,
    Level,
    Standing,
    is_synchronised,
    validate_commit,
    validate_sync,
)
from tallystick.contracts.atproto import Commit, Op, decode_commit, encode, event_id
from tallystick.contracts.tids import tid_at
from tests.atproto_world import NOW_US, Repository, car, frame, tree_by_the_book

Body = dict[str, object]
POST, LIKE, OTHER = "app.bsky.feed.post/3aa", "app.bsky.feed.like/3bb", "app.bsky.feed.post/3cc"


class Case:
    """An honest account in the midst of its life: `body` is its third commit, which has an op of each kind."""

    def __init__(self) -> None:
        self.repository = Repository()
        self.first = self.repository.commit({POST: {"text": "1"}, LIKE: {"of": "1"}})
        self.second = self.repository.commit({"app.bsky.feed.post/3dd": {"text": "2"}})
        assert self.repository.rev
        assert self.repository.data
        self.known: Known | None = Known(self.repository.rev, self.repository.data)
        self.body = self.repository.commit({POST: None, LIKE: {"of": "2"}, OTHER: {"text": "3"}})
        self.standing: Standing | None = Standing(self.repository.key)

    def blocks(self) -> dict[Cid, bytes]:
        """Return all blocks of the third commit but the commit object."""
        records = self.repository.records
        _, nodes = tree_by_the_book({path.encode(): cid for path, cid in records.items()})
        return {**nodes, **{cid: self.repository.blocks[cid] for cid in records.values()}}

    def signed(self, blocks: dict[Cid, bytes] | None = None, **fields: object) -> None:
        """Have the account sign a commit object with other fields, and send other blocks."""
        data, rev = self.repository.data, self.body["rev"]
        signed = self.repository.sign(
            {"did": self.repository.did, "version": 3, "rev": rev, "prev": None, "data": data, **fields}
        )
        cid = cid_of(signed)
        self.body |= {"commit": cid, "blocks": car(cid, {cid: signed, **(self.blocks() if blocks is None else blocks)})}

    def op(self, of: str, **fields: object) -> None:
        """Change what the host says of one operation."""
        ops = self.body["ops"]
        assert isinstance(ops, list)
        self.body["ops"] = [{**op, **fields} if op["path"] == of else op for op in ops]

    def message(self) -> CommitMessage:
        message = read_message(frame("#commit", self.body))
        assert isinstance(message, CommitMessage)
        return message

    def validate(self, level: Level = Level.INDUCTIVE) -> Commit:
        commit = validate_commit(self.message(), level=level, now_us=NOW_US, standing=self.standing, known=self.known)
        return commit_record(commit, host="pds.test", live=True)


Change = Callable[[Case], object]


def body(**fields: object) -> Change:
    return lambda case: case.body.update(fields)


def op(of: str, **fields: object) -> Change:
    return lambda case: case.op(of, **fields)


def signed(**fields: object) -> Change:
    return lambda case: case.signed(None, **fields)


def standing(value: Standing | None) -> Change:
    return lambda case: setattr(case, "standing", value)


def known(rev: str | None = None, data: Cid | None = None) -> Change:
    def change(case: Case) -> None:
        assert case.known
        case.known = Known(rev or case.known.rev, data or case.known.data)

    return change


def without_block(choose: Callable[[Case], Cid]) -> Change:
    def change(case: Case) -> None:
        case.signed({cid: block for cid, block in case.blocks().items() if cid != choose(case)})

    return change


def flipped_byte(case: Case) -> None:
    blocks = case.body["blocks"]
    assert isinstance(blocks, bytes)
    case.body["blocks"] = blocks[:-1] + bytes((blocks[-1] ^ 1,))


def another_root(case: Case) -> None:
    message = case.message()
    at = message.blocks.index(message.commit)
    case.body["blocks"] = message.blocks[:at] + OTHER_CID + message.blocks[at + 36 :]


def future(case: Case) -> None:
    case.body["rev"] = tid_at(NOW_US + 301_000_000)
    case.signed()


def rewritten(was: bytes, now: bytes) -> Change:
    """Return a change of the bytes of the commit object, which says the same to a lenient reader."""

    def change(case: Case) -> None:
        fields = {"did": case.repository.did, "version": 3, "rev": case.body["rev"], "prev": None}
        signed = case.repository.sign({**fields, "data": case.repository.data})
        assert signed.count(was) == 1
        block = signed.replace(was, now)
        case.body |= {"commit": cid_of(block), "blocks": car(cid_of(block), {cid_of(block): block, **case.blocks()})}

    return change


def malformed_rev(case: Case) -> None:
    case.body["rev"] = "latest"
    case.signed()


def hidden_op(case: Case) -> None:
    """Leave out an operation that the account has carried out."""
    case.body["ops"] = [op for op in case.body["ops"] if op["path"] != OTHER]  # type: ignore[attr-defined]


def unordered_tree(case: Case) -> None:
    """Have the account sign a tree whose root is a record."""
    case.signed(data=case.repository.records[OTHER])


OTHER_CID = cid_of(b"another")
FULL = [{"action": "delete", "path": f"a.b.c/{number}", "cid": None} for number in range(201)]
OTHERS_KEY = Repository("another").key
OFF, HASH, SIGNATURE, INDUCTIVE = Level

CASES = [
    (Failure.OPS_TOO_MANY, OFF, body(ops=FULL), "201 operations"),
    (Failure.OPS_MALFORMED, OFF, body(ops=FULL[:1] * 2), "a path twice"),
    (Failure.OPS_MALFORMED, OFF, op(OTHER, cid=None), "a create without cid"),
    (Failure.OPS_MALFORMED, OFF, op(POST, cid=OTHER_CID), "a delete with cid"),
    (Failure.OPS_MALFORMED, OFF, op(OTHER, cid=b"x"), "a cid that is none"),
    (Failure.OPS_MALFORMED, OFF, op(LIKE, prev=b""), "a prev that is none"),
    (Failure.OPS_MALFORMED, OFF, body(commit=b"x"), "a commit that is no CID"),
    (Failure.OPS_MALFORMED, OFF, body(prevData=b"x"), "a prevData that is no CID"),
    (Failure.CAR_UNREADABLE, OFF, body(blocks=b""), "no blocks"),
    (Failure.CAR_UNREADABLE, OFF, lambda case: case.body.update(blocks=case.message().blocks[:-3]), "a CAR cut short"),
    (Failure.COMMIT_UNREADABLE, OFF, body(commit=OTHER_CID), "no commit object"),
    (Failure.COMMIT_UNREADABLE, OFF, signed(version=2), "a commit object of version 2"),
    (Failure.COMMIT_UNREADABLE, OFF, signed(data=b"x"), "a tree that is no CID"),
    (Failure.COMMIT_UNREADABLE, OFF, signed(rev=5), "a rev that is a number"),
    (Failure.COMMIT_UNREADABLE, OFF, rewritten(b"gversion\x03", b"gversion\x18\x03"), "a number longer than need be"),
    (Failure.COMMIT_UNREADABLE, OFF, rewritten(b"\xd8*X%\x00", b"X\x24"), "a link that is written as bytes"),
    (Failure.BLOCKS_TOO_LARGE, OFF, body(blocks=b"\0" * (MAX_COMMIT_BYTES + 1)), "more than 2 MB"),
    (Failure.TOO_BIG, HASH, body(tooBig=True), "a commit that the host says is too big"),
    (Failure.BLOCK_HASH, HASH, flipped_byte, "a block that is not what its CID says"),
    (Failure.ROOT, HASH, another_root, "another root than the commit"),
    (Failure.DID, HASH, signed(did="did:plc:another"), "the commit of another account"),
    (Failure.REV, HASH, body(rev=tid_at(NOW_US)), "another rev than that of the commit"),
    (Failure.REV_MALFORMED, HASH, malformed_rev, "a rev that is no TID"),
    (Failure.REV_FUTURE, HASH, future, "a rev more than five minutes ahead"),
    (Failure.IDENTITY_UNRESOLVED, SIGNATURE, standing(None), "an account of which nothing is known"),
    (Failure.IDENTITY_UNRESOLVED, SIGNATURE, standing(Standing(None, "no such DID")), "an account without key"),
    (
        Failure.ACCOUNT_INACTIVE,
        SIGNATURE,
        standing(Standing(OTHERS_KEY, active=False)),
        "an inactive account",
    ),
    (Failure.SIGNATURE, SIGNATURE, standing(Standing(OTHERS_KEY)), "the signature of another key"),
    (Failure.REV_OLD, INDUCTIVE, known(rev=tid_at(NOW_US)), "a rev older than the last"),
    (Failure.REV_OLD, INDUCTIVE, lambda case: known(rev=str(case.body["rev"]))(case), "the last rev once more"),
    (Failure.SINCE, INDUCTIVE, known(rev=tid_at(NOW_US - 90_000_000)), "a predecessor that was not seen"),
    (Failure.SINCE, INDUCTIVE, body(since=None), "a first commit of what is known already"),
    (Failure.PREV_DATA, INDUCTIVE, known(data=OTHER_CID), "a predecessor with another tree"),
    (Failure.PREV_DATA_MISSING, INDUCTIVE, lambda case: case.body.pop("prevData"), "no prevData"),
    (Failure.PREV_MISSING, INDUCTIVE, op(LIKE, prev=None), "an update without prev"),
    (Failure.PREV_MISSING, INDUCTIVE, op(POST, prev=None), "a delete without prev"),
    (Failure.TREE, INDUCTIVE, without_block(lambda case: case.repository.data or b""), "no root of the tree"),
    (Failure.TREE, INDUCTIVE, unordered_tree, "a tree that is none"),
    (Failure.OP_NOT_IN_TREE, INDUCTIVE, op(OTHER, path="a.b.c/nowhere"), "a create that is not in the tree"),
    (Failure.OP_NOT_IN_TREE, INDUCTIVE, op(OTHER, cid=OTHER_CID), "a create with another cid than in the tree"),
    (Failure.OP_NOT_IN_TREE, INDUCTIVE, op(POST, path="app.bsky.feed.post/3dd"), "a delete of what is still there"),
    (Failure.BLOCK_MISSING, INDUCTIVE, without_block(lambda case: case.repository.records[OTHER]), "no record"),
    (Failure.INVERSION, INDUCTIVE, hidden_op, "an operation left out"),
    (Failure.INVERSION, INDUCTIVE, op(LIKE, prev=OTHER_CID), "another prev than there was"),
    (Failure.INVERSION, INDUCTIVE, op(LIKE, action="create", prev=None), "an update that is called a create"),
]
RESYNCED = {
    Failure.TOO_BIG,
    Failure.SINCE,
    Failure.PREV_DATA,
    Failure.PREV_DATA_MISSING,
    Failure.PREV_MISSING,
    Failure.TREE,
    Failure.OP_NOT_IN_TREE,
    Failure.BLOCK_MISSING,
    Failure.INVERSION,
}


@pytest.mark.parametrize(("failure", "first", "change", "_what"), CASES, ids=[case[3] for case in CASES])
@pytest.mark.parametrize("level", Level, ids=lambda level: level.name.lower())
def test_from_its_level_on_it_is_refused_and_below_it_is_taken(
    failure: Failure, first: Level, change: Change, _what: str, level: Level
) -> None:
    case = Case()
    change(case)
    if level < first:
        case.validate(level)
        return
    with pytest.raises(Invalid) as raised:
        case.validate(level)
    assert raised.value.reason is failure
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_there_is_a_case_of_every_failure() -> None:
    assert {case[0] for case in CASES} == set(Failure)


@pytest.mark.parametrize("failure", Failure)
def test_what_follows_from_a_failure(failure: Failure) -> None:
    if failure in RESYNCED:
        expected = Consequence.RESYNC
    elif failure in (Failure.SIGNATURE, Failure.IDENTITY_UNRESOLVED):
        expected = Consequence.REFRESH
    else:
        expected = Consequence.REJECT
    assert consequence_of(failure) is expected
    assert Invalid(failure).consequence is expected


@pytest.mark.parametrize("level", Level, ids=lambda level: level.name.lower())
def test_an_honest_commit_passes_every_level(level: Level) -> None:
    assert len(Case().validate(level).ops) == 3


def test_an_honest_first_commit_passes() -> None:
    case = Case()
    case.body, case.known = case.first, None
    assert case.validate().since == ""


def test_a_commit_of_a_repository_of_which_nothing_is_known_passes_on_its_own_word() -> None:
    case = Case()
    case.known = None
    assert case.validate().prev_data


def test_a_commit_without_operations_must_leave_the_tree_as_it_was() -> None:
    case = Case()
    case.body = case.repository.commit({})
    case.known = None
    assert case.validate().ops == ()
    case.body["prevData"] = EMPTY_TREE
    with pytest.raises(Invalid, match=Failure.INVERSION.value):
        case.validate()


def test_a_field_that_was_added_after_the_signature_breaks_it() -> None:
    case = Case()
    message = case.message()
    commit = validate_commit(message, level=Level.SIGNATURE, now_us=NOW_US, standing=case.standing)
    assert case.repository.key.problem_of(commit.signed.sig, commit.signed.unsigned) is None
    assert case.repository.key.problem_of(commit.signed.sig, commit.signed.unsigned + b"\0") is not None


def test_fields_of_later_versions_are_signed_with_the_others() -> None:
    case = Case()
    case.signed(later=[1, 2])
    case.validate()


def test_what_goes_into_kafka_says_all_of_the_commit() -> None:
    case = Case()
    found = decode_commit(encode(case.validate()))
    message = case.message()
    assert msgspec.structs.replace(found, ops=()) == Commit(
        did=case.repository.did,
        rev=message.rev,
        host="pds.test",
        cid=cid_text(message.commit),
        data=cid_text(case.repository.data or b""),
        since=message.since or "",
        prev_data=cid_text(message.prev_data or b""),
        seq=3,
        time="2026-11-23T04:08:00.000000Z",
    )
    assert [(op.action, op.path, bool(op.cid), bool(op.prev), op.problem) for op in found.ops] == [
        ("delete", POST, False, True, ""),
        ("update", LIKE, True, True, ""),
        ("create", OTHER, True, False, ""),
    ]
    assert [bytes(op.record) for op in found.ops if isinstance(op.record, msgspec.Raw)] == [
        b'{"of":"2"}',
        b'{"text":"3"}',
    ]
    assert cid_from_text(found.ops[2].cid) == case.repository.records[OTHER]
    assert event_id(found.did, found.rev, found.ops[2].path) == (case.repository.did, message.rev, OTHER)


def ops_of(changes: dict[str, dict[str, object] | None], level: Level = Level.INDUCTIVE) -> tuple[Op, ...]:
    case = Case()
    case.body, case.known = case.repository.commit(changes), None
    return case.validate(level).ops


def test_a_record_that_can_not_be_shown_takes_none_of_the_others_with_it() -> None:
    deep: object = 0
    for _ in range(300):
        deep = [deep]
    bad, good = ops_of({"a.b.c/bad": {"deep": deep}, "a.b.c/good": {"n": 1}})
    assert bad.record is msgspec.UNSET
    assert bad.problem.startswith("value_not_in_json")
    assert bad.cid
    assert (good.record, good.problem) == (msgspec.Raw(b'{"n":1}'), "")


def test_a_record_that_the_host_left_out_is_named_where_nobody_checks() -> None:
    case = Case()
    without_block(lambda case: case.repository.records[OTHER])(case)
    assert [op.problem for op in case.validate(Level.OFF).ops] == ["", "", "block_missing"]


def test_many_operations_on_one_large_record_stay_within_bounds() -> None:
    large: dict[str, object] = {"text": "x" * 1_000_000}
    found = ops_of({f"a.b.c/{number}": large for number in range(200)})
    shown = [op for op in found if op.record is not msgspec.UNSET]
    assert len(shown) == 12
    assert {op.problem for op in found if op.record is msgspec.UNSET} == {"commit_too_large"}


def sync(case: Case, **fields: object) -> SyncMessage:
    message = case.message()
    assert case.repository.data
    signed = case.repository.sign(
        {"did": case.repository.did, "version": 3, "rev": message.rev, "prev": None, "data": case.repository.data}
    )
    body = {
        "seq": 9,
        "did": case.repository.did,
        "rev": message.rev,
        "blocks": car(cid_of(signed), {cid_of(signed): signed}),
        "time": "",
        **fields,
    }
    read = read_message(frame("#sync", body))
    assert isinstance(read, SyncMessage)
    return read


def test_a_sync_is_news_unless_rev_and_tree_are_the_known_ones() -> None:
    case = Case()
    signed = validate_sync(sync(case), level=Level.INDUCTIVE, now_us=NOW_US, standing=case.standing, known=case.known)
    assert not is_synchronised(signed, case.known)
    assert not is_synchronised(signed, None)
    assert not is_synchronised(signed, Known(signed.rev, EMPTY_TREE))
    assert is_synchronised(signed, Known(signed.rev, signed.data))


SYNCS = [
    pytest.param({"did": "did:plc:another"}, None, Failure.DID, id="of another account"),
    pytest.param({"rev": tid_at(1)}, None, Failure.REV, id="with another rev"),
    pytest.param({"blocks": b""}, None, Failure.CAR_UNREADABLE, id="without blocks"),
    pytest.param({"blocks": b"\0" * 100_000}, None, Failure.BLOCKS_TOO_LARGE, id="of 100 kB"),
    pytest.param({}, Standing(OTHERS_KEY), Failure.SIGNATURE, id="signed by another key"),
]


@pytest.mark.parametrize(("fields", "who", "failure"), SYNCS)
def test_a_sync_is_validated_as_a_commit_is(fields: Body, who: Standing | None, failure: Failure) -> None:
    case = Case()
    with pytest.raises(Invalid) as raised:
        validate_sync(
            sync(case, **fields), level=Level.INDUCTIVE, now_us=NOW_US, standing=who or case.standing, known=case.known
        )
    assert raised.value.reason is failure


def test_a_sync_older_than_what_is_known_is_refused() -> None:
    case = Case()
    with pytest.raises(Invalid, match=Failure.REV_OLD.value):
        validate_sync(
            sync(case),
            level=Level.INDUCTIVE,
            now_us=NOW_US,
            standing=case.standing,
            known=Known(tid_at(NOW_US), EMPTY_TREE),
        )
