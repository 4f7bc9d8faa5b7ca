"""Which collections a choice means."""

import pytest

from tallystick.contracts.collections import Choice, chosen, is_chosen


@pytest.mark.parametrize(
    ("choice", "collection", "means"),
    [
        pytest.param(chosen(), "a.b", True, id="nobody chooses"),
        pytest.param(chosen((), ()), "a.b", True, id="everybody takes all"),
        pytest.param(chosen(("a.b",)), "a.b", True, id="by name"),
        pytest.param(chosen(("a.b",)), "a.bc", False, id="a name is not a beginning"),
        pytest.param(chosen(("a.b",)), "axb", False, id="a dot is a dot"),
        pytest.param(chosen(("a.*",)), "a.b.c", True, id="by pattern"),
        pytest.param(chosen(("x", "*.c")), "a.b.c", True, id="by one of several"),
        pytest.param(chosen(("a.*",), ("*.c",)), "a.b.c", True, id="by both"),
        pytest.param(chosen(("a.*",), ("*.d",)), "a.b.c", False, id="by one and not by the other"),
    ],
)
def test_a_collection_is_chosen_where_everybody_has_a_pattern_for_it(
    choice: Choice, collection: str, means: bool
) -> None:
    assert is_chosen(choice, collection) == means


def test_choices_that_mean_the_same_are_the_same() -> None:
    assert chosen(("b", "a", "b"), ()) == chosen((), ("a", "b"), ["b", "a"]) == (("a", "b"),)
