"""The page of faults names tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "media-faults.md"
ROW = re.compile(r"^\| (\d+) \| .+? \| .+? \| (.+) \|$", re.MULTILINE)
SHOWN = re.compile(r"`([\w/]+\.py)` `(test_\w+)`(?: \[(\w+)[^]]*])?")


def test_every_fault_has_its_row_in_order() -> None:
    assert [int(number) for number, _ in ROW.findall(PAGE.read_text())] == list(range(1, 59))


def test_every_test_that_is_named_is_there() -> None:
    for number, tests in ROW.findall(PAGE.read_text()):
        shown = SHOWN.findall(tests)
        assert shown, number
        for path, name, id_ in shown:
            text = (TESTS / path).read_text()
            assert f"def {name}(" in text, (number, path, name)
            assert not id_ or f'id="{id_}' in text, (number, path, id_)


def test_names_with_a_number_stand_in_the_row_of_that_number() -> None:
    for number, tests in ROW.findall(PAGE.read_text()):
        for _, name, _ in SHOWN.findall(tests):
            named = re.match(r"test_((?:\d+_)+)", name)
            assert named is None or number in named[1].split("_"), (number, name)
