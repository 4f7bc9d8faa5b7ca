"""Whatever hosts interleave, repeat or leave out, a repository ends as its history does, or is known not to."""

from hypothesis import given
from hypothesis import strategies as st

from streams.repositories.events import Event
from streams.repositories.fold import MAX_LINKS_UNASKED, Moment, Resync, apply
from tallystick.contracts.atproto import Fetch, Repository, RepositoryState
from tests.unit.test_repositories_fold import account, commit, data, fetched, minute, not_fetched, rev, sync

LENGTH = MAX_LINKS_UNASKED + 1
HISTORY = [commit(number) for number in range(1, LENGTH + 1)]
NUMBERS = st.integers(1, LENGTH)
RESYNC: st.SearchStrategy[Resync] = st.sampled_from(["off", "known", "all"])
EVENTS = st.lists(
    st.one_of(
        NUMBERS.map(commit),
        NUMBERS.map(sync),
        NUMBERS.map(lambda number: sync(number, "bafyelse")),
        st.tuples(NUMBERS, NUMBERS).map(lambda pair: commit(max(pair), since=min(pair) - 1)),
        st.builds(fetched, NUMBERS, st.integers(1, 9)),
        st.builds(not_fetched, status=st.sampled_from(["", "takendown"]), attempt=st.integers(1, 9)),
        st.builds(account, st.booleans(), st.integers(1, 59).map(minute)),
    ),
    max_size=12,
)


def fold(
    events: list[Event], *, state: Repository | None = None, first: int = 0, resync: Resync = "known"
) -> tuple[Repository | None, list[Fetch]]:
    fetches = []
    for offset, event in enumerate(events, first):
        state, fetch = apply(state, event, Moment(offset, minute(59), resync))
        fetches += [fetch] if fetch else []
    return state, fetches


def is_at_the_end(state: Repository | None) -> bool:
    return state is not None and (state.state, state.rev, state.data, state.links) == (
        RepositoryState.SYNCHRONISED,
        rev(LENGTH),
        data(LENGTH),
        (),
    )


@st.composite
def interleaved(draw: st.DrawFn, *, lossy: bool = False) -> list[Event]:
    """Two hosts' streams of one history, each in its order; with `lossy` each may leave out what the other has."""
    owners = [draw(st.sampled_from([(0,), (1,), (0, 1)])) if lossy else (0, 1) for _ in HISTORY]
    waiting = [[event for event, owner in zip(HISTORY, owners, strict=True) if host in owner] for host in (0, 1)]
    found: list[Event] = []
    while any(waiting):
        host = draw(st.sampled_from([host for host in (0, 1) if waiting[host]]))
        found.append(waiting[host].pop(0))
    return found


@given(interleaved(), RESYNC)
def test_two_hosts_of_an_honest_history_lead_to_its_end_without_a_fetch(events: list[Event], resync: Resync) -> None:
    state, fetches = fold(events, resync=resync)
    assert is_at_the_end(state)
    assert fetches == []


@given(interleaved(lossy=True))
def test_what_one_host_leaves_out_another_makes_good(events: list[Event]) -> None:
    assert is_at_the_end(fold(events)[0])


@given(EVENTS, EVENTS)
def test_a_repeat_changes_nothing(before: list[Event], after: list[Event]) -> None:
    state, _ = fold([*before, *after[:1]])
    again, fetches = fold(after[:1], state=state, first=99)
    assert (again, fetches) == (state, [])


@given(st.integers(1, LENGTH - 3), st.integers(1, LENGTH - 1), interleaved())
def test_a_commit_that_is_missing_is_always_noticed(first: int, missing: int, events: list[Event]) -> None:
    dropped = HISTORY[missing - 1]
    state, _ = fold([event for event in events if event != dropped])
    assert state is not None
    assert state.state is not RepositoryState.SYNCHRONISED or state.rev < dropped.rev
    # The same of a repository that was known before, from some fetch on.
    state, fetches = fold([fetched(first), *(e for e in events if e != dropped)])
    assert state is not None
    if missing > first:
        assert (state.state, len(fetches)) == (RepositoryState.FETCHING, 1)


@given(st.data())
def test_after_a_fetch_of_any_rev_and_the_rest_of_the_commits_it_is_at_the_end(source: st.DataObject) -> None:
    begin = source.draw(NUMBERS)
    heard = HISTORY[begin - 1 :]
    at = source.draw(st.integers(begin - 1 or 1, LENGTH))
    place = source.draw(st.integers(0, len(heard)))
    resync = source.draw(RESYNC)
    state, _ = fold([*heard[:place], fetched(at), *heard[place:]], resync=resync)
    assert is_at_the_end(state)


@given(EVENTS, RESYNC)
def test_a_fetch_is_open_once_and_not_asked_for_by_a_repeat(events: list[Event], resync: Resync) -> None:
    open_fetches = 0
    state: Repository | None = None
    for offset, event in enumerate(events):
        attempt = state.attempt if state else 0
        state, fetch = apply(state, event, Moment(offset, minute(59), resync))
        if state is not None and state.attempt != attempt:
            open_fetches = 0
        open_fetches += fetch is not None
        assert open_fetches <= 1
        assert (state is not None and state.asked >= 0) is (open_fetches == 1)
        assert apply(state, event, Moment(offset, minute(59), resync)) == (state, None)


@given(EVENTS, RESYNC)
def test_the_revision_counts_the_changes(events: list[Event], resync: Resync) -> None:
    state: Repository | None = None
    changes = 0
    for offset, event in enumerate(events):
        before = state
        state, _ = apply(state, event, Moment(offset, minute(59), resync))
        changes += state is not before
    assert changes == (state.revision if state else 0)
