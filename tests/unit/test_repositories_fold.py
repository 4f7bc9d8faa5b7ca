"""How a repository stands after some events: each test is a story of one repository."""

import msgspec
import pytest

from streams.repositories.events import Account, Commit, Event, Fetched, Sync
from streams.repositories.fold import MAX_FETCHES, MAX_LINKS, MAX_LINKS_UNASKED, Moment, Resync, apply
from tallystick.contracts.atproto import EMPTY_TREE, Fetch, Repository, RepositoryState
from tallystick.contracts.tids import tid_at

DID = "did:plc:a"
SYNCHRONISED, DESYNCHRONISED, FETCHING, INACTIVE, FAILED = (
    RepositoryState.SYNCHRONISED,
    RepositoryState.DESYNCHRONISED,
    RepositoryState.FETCHING,
    RepositoryState.INACTIVE,
    RepositoryState.FAILED,
)


def rev(number: int) -> str:
    return tid_at(number) if number else ""


def data(number: int) -> str:
    return f"bafy{number}" if number else EMPTY_TREE


def commit(number: int, since: int | None = None, prev_data: str | None = None) -> Commit:
    before = number - 1 if since is None else since
    return Commit(DID, rev(number), data(number), rev(before), data(before) if prev_data is None else prev_data)


def sync(number: int, root: str = "") -> Sync:
    return Sync(DID, rev(number), root or data(number))


def fetched(number: int, attempt: int = 1, at: str = "") -> Fetched:
    return Fetched(DID, attempt, at or minute(attempt), rev(number), data(number))


def not_fetched(problem: str = "RepoNotFound", status: str = "", attempt: int = 1, at: str = "") -> Fetched:
    return Fetched(DID, attempt, at or minute(attempt), problem=problem, status=status)


def account(active: bool, at: str, status: str = "") -> Account:
    return Account(DID, active, at, status)


def minute(number: int, hour: int = 0, day: int = 1) -> str:
    return f"2026-11-{day:02d}T{hour:02d}:{number:02d}:00.000000Z"


ABSENT = account(False, minute(1), "deactivated")
BACK = account(True, minute(2))


def tell(
    *events: Event, resync: Resync = "known", state: Repository | None = None, first: int = 0, at: str = minute(50)
) -> tuple[Repository, list[Fetch]]:
    """Fold `events`, the first of which has the offset `first`; return the last state and all fetches."""
    fetches = []
    for offset, event in enumerate(events, first):
        state, fetch = apply(state, event, Moment(offset, at, resync))
        fetches += [fetch] if fetch else []
    assert state is not None
    return state, fetches


@pytest.mark.parametrize(
    ("events", "state", "known", "links", "asked"),
    [
        pytest.param([commit(1)], SYNCHRONISED, 1, 0, 0, id="the first commit of all"),
        pytest.param(
            [commit(1, prev_data="")], SYNCHRONISED, 1, 0, 0, id="a first commit that tells of no tree before"
        ),
        pytest.param([commit(1, prev_data="bafy9")], DESYNCHRONISED, 0, 1, 0, id="a first commit upon some tree"),
        pytest.param([commit(5)], DESYNCHRONISED, 0, 1, 0, id="a later commit of an unknown repository"),
        pytest.param([commit(2), commit(1)], SYNCHRONISED, 2, 0, 0, id="the first commit after the second"),
        pytest.param([sync(5)], DESYNCHRONISED, 0, 1, 0, id="a sync of an unknown repository"),
        pytest.param([fetched(5)], SYNCHRONISED, 5, 0, 0, id="fetched as the first that is heard"),
        pytest.param([commit(1), commit(2), commit(3)], SYNCHRONISED, 3, 0, 0, id="one after the other"),
        pytest.param([commit(1), commit(2), commit(1), commit(2)], SYNCHRONISED, 2, 0, 0, id="repeats of another host"),
        pytest.param([commit(1), commit(3)], FETCHING, 1, 1, 1, id="one is missing"),
        pytest.param([commit(1), commit(3), commit(2)], SYNCHRONISED, 3, 0, 1, id="what is missing comes later"),
        pytest.param([commit(1), commit(2, prev_data="bafy9")], FETCHING, 1, 1, 1, id="upon another tree"),
        pytest.param([commit(1), commit(2, prev_data="")], FETCHING, 1, 1, 1, id="upon a tree that isn't told"),
        pytest.param([commit(1), sync(1)], SYNCHRONISED, 1, 0, 0, id="a sync that tells what is known"),
        pytest.param([commit(1), commit(2), sync(1)], SYNCHRONISED, 2, 0, 0, id="a sync that is old"),
        pytest.param([commit(1), sync(1, "bafy9")], FETCHING, 1, 1, 1, id="a sync of the same rev with another tree"),
        pytest.param([commit(1), sync(2)], FETCHING, 1, 1, 1, id="a sync that is newer"),
        pytest.param([commit(1), sync(2), commit(3)], FETCHING, 1, 2, 1, id="a commit upon the sync"),
        pytest.param([commit(1), sync(2), commit(2)], SYNCHRONISED, 2, 0, 1, id="what led to the sync comes later"),
        pytest.param([commit(1), sync(2, "bafy9"), commit(2)], FETCHING, 1, 1, 1, id="what led elsewhere comes later"),
        pytest.param([commit(1), sync(2), fetched(1)], FETCHING, 1, 1, 2, id="fetched before the sync"),
        pytest.param([commit(1), sync(2), fetched(2)], SYNCHRONISED, 2, 0, 1, id="fetched at the sync"),
        pytest.param([commit(1), sync(2), commit(3), fetched(2)], SYNCHRONISED, 3, 0, 1, id="a link after the fetch"),
        pytest.param(
            [commit(1), commit(3), commit(4), fetched(3)], SYNCHRONISED, 4, 0, 1, id="fetched within the links"
        ),
        pytest.param(
            [commit(1), commit(3), commit(5), fetched(3)], FETCHING, 3, 1, 2, id="fetched before a second gap"
        ),
        pytest.param(
            [commit(1), commit(3), fetched(7), commit(5)], SYNCHRONISED, 7, 0, 1, id="fetched ahead of the stream"
        ),
        pytest.param([commit(1), fetched(3), commit(4)], SYNCHRONISED, 4, 0, 0, id="fetched without need"),
        pytest.param(
            [commit(2), fetched(1), commit(3)], SYNCHRONISED, 3, 0, 0, id="fetched from a list, and a commit since"
        ),
        pytest.param([commit(1), commit(3), not_fetched()], FAILED, 1, 1, 1, id="can't be fetched"),
        pytest.param([commit(1), not_fetched()], SYNCHRONISED, 1, 0, 0, id="can't be fetched, without need"),
        pytest.param([commit(1), commit(3), not_fetched(status="takendown")], INACTIVE, 1, 1, 1, id="taken down"),
        pytest.param([commit(1), commit(3), not_fetched(status="throttled")], FAILED, 1, 1, 1, id="only throttled"),
        pytest.param([ABSENT], INACTIVE, 0, 0, 0, id="inactive and never heard of"),
        pytest.param([BACK], DESYNCHRONISED, 0, 0, 0, id="active and never heard of"),
        pytest.param([BACK, commit(1)], SYNCHRONISED, 1, 0, 0, id="a new account"),
        pytest.param([commit(1), ABSENT], INACTIVE, 1, 0, 0, id="deactivated"),
        pytest.param([commit(1), ABSENT, BACK], SYNCHRONISED, 1, 0, 0, id="active again"),
        pytest.param(
            [commit(1), ABSENT, BACK, commit(3)], FETCHING, 1, 1, 1, id="active again, and something was missed"
        ),
        pytest.param(
            [commit(1), ABSENT, commit(3), BACK], FETCHING, 1, 1, 1, id="something was missed, then active again"
        ),
        pytest.param([commit(1), BACK, ABSENT], SYNCHRONISED, 1, 0, 0, id="told late that it was inactive before"),
        pytest.param(
            [commit(1), account(True, minute(3), "throttled")], SYNCHRONISED, 1, 0, 0, id="active, though throttled"
        ),
        pytest.param(
            [commit(1), account(False, minute(1, day=30)), BACK, account(True, minute(52))],
            SYNCHRONISED,
            1,
            0,
            0,
            id="a time to come does not last",
        ),
        pytest.param([commit(1), ABSENT, fetched(2, at=minute(1))], INACTIVE, 2, 0, 0, id="fetched before it left"),
        pytest.param([commit(1), ABSENT, fetched(2, at=minute(3))], SYNCHRONISED, 2, 0, 0, id="fetched after it left"),
        pytest.param(
            [commit(1), commit(3), BACK, not_fetched(status="deactivated", at=minute(1))],
            FETCHING,
            1,
            1,
            2,
            id="said to be inactive before it came back",
        ),
    ],
)
def test_a_story(events: list[Event], state: RepositoryState, known: int, links: int, asked: int) -> None:
    found, fetches = tell(*events, at=minute(52))
    assert (found.state, found.rev, len(found.links), len(fetches)) == (state, rev(known), links, asked)
    assert (found.asked >= 0) is (found.state is FETCHING) or found.state is SYNCHRONISED


def test_a_fetch_says_why_it_is_asked_for_and_which_rev_is_too_old() -> None:
    state, fetches = tell(commit(1), commit(3))
    assert fetches == [Fetch(DID, "since_differs", minute(50), rev=rev(3))]
    assert (state.problem, state.changed_at, state.asked) == ("since_differs", minute(50), 1)


@pytest.mark.parametrize(
    ("resync", "unknown", "known"),
    [("off", DESYNCHRONISED, DESYNCHRONISED), ("known", DESYNCHRONISED, FETCHING), ("all", FETCHING, FETCHING)],
)
def test_the_setting_says_what_is_fetched(resync: Resync, unknown: RepositoryState, known: RepositoryState) -> None:
    for events, expected in (([commit(5)], unknown), ([commit(1), commit(3)], known)):
        state, fetches = tell(*events, resync=resync)
        assert (state.state, len(fetches)) == (expected, int(expected is FETCHING))


def test_a_changed_setting_takes_effect_with_the_next_commit() -> None:
    state, _ = tell(commit(1), commit(3), resync="off")
    state, fetches = tell(commit(4), state=state, first=2)
    assert (state.state, len(fetches)) == (FETCHING, 1)


def test_the_same_record_once_more_asks_for_nothing() -> None:
    state, _ = tell(commit(1), commit(3))
    assert apply(state, commit(3), Moment(1, minute(59))) == (state, None)


def test_only_the_newest_links_are_kept() -> None:
    state, _ = tell(commit(1), *(commit(number) for number in range(3, MAX_LINKS + 10)))
    assert (len(state.links), state.links[-1].rev) == (MAX_LINKS, rev(MAX_LINKS + 9))
    helped, _ = tell(fetched(MAX_LINKS), state=state, first=900)
    assert (helped.state, helped.rev) == (SYNCHRONISED, rev(MAX_LINKS + 9))
    too_old, fetches = tell(fetched(5), state=state, first=900)
    assert (too_old.state, too_old.rev, len(fetches)) == (FETCHING, rev(5), 1)
    unasked, _ = tell(*(commit(number) for number in range(5, 50)))
    assert len(unasked.links) == MAX_LINKS_UNASKED
    assert apply(unasked, sync(4), Moment(99, minute(59))) == (unasked, None)


def test_fetches_that_bring_what_is_too_old_end_and_a_commit_after_a_while_tries_again() -> None:
    state, fetches = tell(commit(1), commit(3), *(fetched(1, attempt) for attempt in range(1, MAX_FETCHES + 1)))
    assert (state.state, state.fetches, len(fetches)) == (FAILED, MAX_FETCHES, MAX_FETCHES)
    state, fetches = tell(commit(4), commit(5), state=state, first=10)
    assert (state.state, len(fetches)) == (FAILED, 0)
    state, fetches = tell(commit(6), commit(7), state=state, first=12, at=minute(51, hour=4))
    assert (state.state, len(fetches)) == (FETCHING, 1)
    state, fetches = tell(fetched(1, 9), state=state, first=14)
    assert (state.state, len(fetches)) == (FAILED, 0)
    state, _ = tell(commit(8), commit(9), state=state, first=15, at=minute(51, day=3))
    state, _ = tell(fetched(7, 10), state=state, first=17)
    assert (state.state, state.rev, state.fetches) == (SYNCHRONISED, rev(9), 0)


def test_commits_of_an_account_that_is_said_to_be_inactive_have_its_host_asked_after_a_while() -> None:
    state, fetches = tell(commit(1), ABSENT, commit(2), commit(3))
    assert (state.state, state.rev, fetches) == (INACTIVE, rev(3), [])
    state, fetches = tell(commit(4), state=state, first=4, at=minute(51, hour=1))
    assert (state.state, len(fetches)) == (FETCHING, 1)


def test_a_fetch_of_which_nothing_is_heard_for_days_is_asked_for_again() -> None:
    state, _ = tell(commit(1), commit(3))
    state, fetches = tell(commit(4), state=state, first=2, at=minute(0, day=7))
    assert fetches == []
    _, fetches = tell(commit(5), commit(6), state=state, first=3, at=minute(0, day=9))
    assert len(fetches) == 1


def test_a_part_changes_nothing_unless_it_is_what_was_asked_for() -> None:
    state, (fetch,) = tell(commit(1), commit(3))
    part = Fetched(DID, 1, minute(1), rev(3), data(3), whole=False)
    assert apply(state, part, Moment(2, minute(59))) == (state, None)
    answer, fetches = tell(msgspec.structs.replace(part, asked=fetch.at), state=state, first=2)
    assert (answer.state, answer.rev, fetches) == (SYNCHRONISED, rev(3), [])
    assert apply(answer, msgspec.structs.replace(part, attempt=2, asked=""), Moment(3, minute(59))) == (answer, None)


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        pytest.param([commit(1), sync(2)], rev(2), id="something newer was heard of"),
        pytest.param([commit(1), sync(1, "bafy9")], "", id="the same rev with another tree"),
        pytest.param([ABSENT, BACK], "", id="nothing was heard of"),
    ],
)
def test_a_fetch_names_a_rev_only_where_a_snapshot_of_it_would_do(events: list[Event], wanted: str) -> None:
    _, fetches = tell(*events, resync="all")
    assert [fetch.rev for fetch in fetches] == [wanted]


def test_what_hosts_write_is_bounded() -> None:
    state, _ = tell(account(False, minute(1), "x\0" * 500), not_fetched("y\0" * 500))
    assert len(state.status) == 64
    state, _ = tell(commit(1), commit(3), not_fetched("y\0" * 500))
    assert len(state.problem) == 300
    assert "\0" not in state.problem
