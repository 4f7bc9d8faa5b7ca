"""A retry is what it brings: in any order the same source, with any difference another one."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.contracts.dead_letters import LetterRef, decode_ref, encode_ref
from tallystick.contracts.retries import SOURCE_PREFIX, Retried, retry_source

SIGNED = st.integers(-(2**63), 2**63 - 1)
REFS = st.builds(
    LetterRef,
    source=st.text(max_size=5),
    position=st.integers(0, 2**63 - 1),
    origin=st.sampled_from(["read", "raw_events", "sessions"]),
    topic=st.sampled_from(["", "cowrie.events"]),
    partition=st.integers(-1, 9),
    piece=st.integers(0, 2),
    digest=SIGNED,
)
RETRIED = st.builds(Retried, letter=REFS, key=st.binary(max_size=6), digest=SIGNED)
BATCHES = st.lists(RETRIED, min_size=1, max_size=6, unique=True)


@given(BATCHES, st.randoms(use_true_random=False))
def test_the_order_of_letters_changes_nothing(batch: list[Retried], chance: object) -> None:
    shuffled = list(batch)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert retry_source(shuffled) == retry_source(batch)
    assert retry_source(batch).startswith(SOURCE_PREFIX)


@given(BATCHES, BATCHES)
def test_other_letters_keys_or_contents_are_another_source(one: list[Retried], other: list[Retried]) -> None:
    assert (retry_source(one) == retry_source(other)) == (sorted(one) == sorted(other))


@given(REFS)
def test_a_letter_comes_back_from_its_header(ref: LetterRef) -> None:
    assert decode_ref(encode_ref(ref)) == ref
