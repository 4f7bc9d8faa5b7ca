"""Commits and snapshots of a repository in any order, and again: the same rows, which are those of the repository."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from producers.atproto.protocol.cids import cid_text
from sinks import schema
from sinks.atproto.commits import Commits
from sinks.atproto.snapshots import Snapshots
from sinks.schema import metadata
from sinks.sink import Record
from sinks.writers import make_writer
from tallystick.contracts.collections import chosen, is_chosen
from tallystick.contracts.tids import tid_number
from tallystick.database.engine import make_engine
from tallystick.settings import DatabaseSettings, Settings
from tests.atproto_rows import committed, dump, fetch, word, write
from tests.atproto_world import Repository

PATHS = [f"{collection}/{key}" for collection in ("a.b", "a.b.c", "a-b") for key in ("1", "2", "x")]
PARTS = ((), (), ("a.b",), ("a.b.c", "a-b"), ("a.*",), ("*c", "a-*"))
TABLES = (
    schema.atproto_records,
    schema.atproto_repos,
    schema.atproto_snapshots,
    schema.atproto_fetched_parts,
)
Step = tuple[dict[str, int | None], int | None]
"""Changes of one commit, and which part is fetched after it, if any: a negative number tells of one that lacks some."""


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    made = make_engine(Settings(database=DatabaseSettings(url=SecretStr("sqlite://"))))
    metadata.create_all(made)
    yield made
    made.dispose()


def clear(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(table.delete())


steps = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(PATHS), st.none() | st.integers(0, 3), min_size=1, max_size=4),
        st.none() | st.integers(-len(PARTS), len(PARTS) - 1),
    ),
    min_size=1,
    max_size=7,
)


class History:
    """What becomes of a repository: its commits, and its fetches, each as the records that carry it."""

    def __init__(self, found: list[Step]) -> None:
        self.repository = Repository()
        self.commits: list[Record] = []
        self.fetches: list[list[Record]] = []
        self.whole = ""
        for number, (changes, fetched) in enumerate(found):
            there = self.repository.records
            made = {
                path: None if value is None else {"n": value}
                for path, value in changes.items()
                if value is not None or path in there
            }
            if made:
                self.commits.append(word(committed(self.repository.commit(made))))
            if fetched is not None and self.repository.rev is not None:
                part = fetch(self.repository, 10 + number, PARTS[fetched], leaves_out="1" if fetched < 0 else "")
                self.fetches.append(part.records())
                self.whole = part.rev if part.end.whole else self.whole

    def expected(self) -> dict[tuple[str, str], str]:
        return {
            (path.partition("/")[0], path.partition("/")[2]): cid_text(cid)
            for path, cid in self.repository.records.items()
        }


def in_order(engine: sa.Engine, history: History) -> dict[str, list[tuple[object, ...]]]:
    clear(engine)
    for record in history.commits:
        write(engine, Commits(make_writer(engine)), record)
    for records in history.fetches:
        write(engine, Snapshots(make_writer(engine)), *records)
    return dump(engine, *TABLES)


def shuffled(engine: sa.Engine, history: History, data: st.DataObject) -> dict[str, list[tuple[object, ...]]]:
    """Write commits and fetches in any order, some of them twice; only a fetch keeps its order within itself."""
    clear(engine)
    todo = [[record] for record in history.commits] + history.fetches
    if todo:
        todo += data.draw(st.lists(st.sampled_from(todo), max_size=4))
    waiting = [list(records) for records in data.draw(st.permutations(todo))]
    while waiting:
        records = data.draw(st.sampled_from(waiting))
        count = data.draw(st.integers(1, len(records)))
        sink = Commits(make_writer(engine)) if not records[0].headers else Snapshots(make_writer(engine))
        batch = [records.pop(0) for _ in range(count)]
        if not records:
            waiting.remove(records)
        more = data.draw(st.sampled_from([[], *waiting]))
        if more and bool(more[0].headers) == bool(batch[0].headers):
            batch += more
            waiting.remove(more)
        write(engine, sink, *batch)
    return dump(engine, *TABLES)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(found=steps, data=st.data())
def test_any_order_and_any_repeats_end_in_the_same_rows(
    engine: sa.Engine, found: list[Step], data: st.DataObject
) -> None:
    history = History(found)
    expected = in_order(engine, history)
    assert shuffled(engine, history, data) == expected
    with engine.connect() as connection:
        table = schema.atproto_records
        live = connection.execute(
            sa.select(table.c.collection, table.c.rkey, table.c.cid).where(sa.not_(table.c.deleted))
        )
        assert {(collection, rkey): cid for collection, rkey, cid in live} == history.expected()
        mark = connection.scalar(sa.select(schema.atproto_repos.c.fetched_revision))
    assert mark == (tid_number(history.whole) if history.whole else None)


@settings(max_examples=40, deadline=None)
@given(found=steps, data=st.data())
def test_commits_that_a_snapshot_has_in_it_need_not_come_at_all(
    engine: sa.Engine, found: list[Step], data: st.DataObject
) -> None:
    history = History([*found, ({PATHS[0]: 1}, 0), ({PATHS[1]: 2}, None)])
    last = data.draw(st.integers(0, len(history.commits) - 1))
    history.commits = history.commits[last:]
    clear(engine)
    for record in data.draw(st.permutations(history.commits)):
        write(engine, Commits(make_writer(engine)), record)
    write(engine, Snapshots(make_writer(engine)), *history.fetches[-1])
    with engine.connect() as connection:
        table = schema.atproto_records
        live = connection.execute(
            sa.select(table.c.collection, table.c.rkey, table.c.cid).where(sa.not_(table.c.deleted))
        )
        assert {(collection, rkey): cid for collection, rkey, cid in live} == history.expected()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=steps, part=st.integers(0, len(PARTS) - 1), data=st.data())
def test_what_a_fetched_collection_has_not_is_gone_whichever_commits_were_missed(
    engine: sa.Engine, found: list[Step], part: int, data: st.DataObject
) -> None:
    history = History([(dict.fromkeys(PATHS, 0), None), *found])
    last = fetch(history.repository, 99, PARTS[part])
    history.fetches.append(last.records())
    history.commits = [history.commits[0], *data.draw(st.lists(st.sampled_from(history.commits), unique_by=id))]
    shuffled(engine, history, data)
    choice = chosen(PARTS[part])
    with engine.connect() as connection:
        table = schema.atproto_records
        live = connection.execute(
            sa.select(table.c.collection, table.c.rkey, table.c.cid).where(sa.not_(table.c.deleted))
        )
        rows = {(collection, rkey): cid for collection, rkey, cid in live if is_chosen(choice, collection)}
    assert rows == {path: cid for path, cid in history.expected().items() if is_chosen(choice, path[0])}
