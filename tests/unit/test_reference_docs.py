"""The pages of the reference say what the code does: those that are generated, and the words of those that are not."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from tallystick import settings
from tallystick.cli import load
from tallystick.contracts.stages import Verdict
from tallystick.supervision import child, restarting, roles
from tallystick.supervision.exits import STOPPED_CODES, ExitReason
from tools.reference_docs import FOLDER, PAGES

ROOT = FOLDER.parents[1]
CODE = "\n".join(
    path.read_text()
    for folder in ("tallystick", "producers", "streams", "sinks")
    for path in (ROOT / folder).rglob("*.py")
)


def first_cells(page: Path, heading: str = "") -> list[str]:
    """Return the code in the first cells of the tables of `page`, or of its section `heading`."""
    text = page.read_text()
    if heading:
        text = re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "make"), PAGES.items(), ids=PAGES)
def test_the_page_in_the_repository_is_what_is_generated(name: str, make: Callable[[], str]) -> None:
    assert (FOLDER / name).read_text() == make(), "run `python tools/reference_docs.py`"


def test_every_setting_is_explained() -> None:
    models = [m for _, m in inspect.getmembers(settings, inspect.isclass) if issubclass(m, BaseModel)]
    sections = {name for name, field in settings.Settings.model_fields.items() if field.annotation in models}
    rows = re.findall(r"^\| `([a-z_.]+)` (?:\| `TALLY_\w+` )?\| .+ \| (.*) \|$", PAGES["settings.md"](), re.MULTILINE)
    names = {name for model in models for name in model.model_fields} - sections
    assert {name.rpartition(".")[2] for name, _ in rows} == names
    assert [name for name, text in rows if not text or text.startswith("(")] == []


def test_every_exit_code_is_on_its_page() -> None:
    codes = {
        0,
        load.INTERRUPTED,
        roles.ERROR_CODE,
        roles.UNEXPECTED_CODE,
        roles.INTERRUPTED_CODE,
        child.OVERDUE_CODE,
        restarting.USAGE_CODE,
        restarting.PARTIAL_CODE,
        restarting.CONFIGURATION_CODE,
        *STOPPED_CODES,
    }
    page = FOLDER / "exit-codes.md"
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page.read_text(), re.MULTILINE)} == codes
    assert first_cells(page) == [str(reason) for reason in ExitReason]


def test_every_verdict_is_on_its_page() -> None:
    assert set(Verdict) <= set(first_cells(FOLDER / "verdicts.md"))


@pytest.mark.parametrize(
    "reason",
    [
        reason
        for heading in ("Reasons of stages", "Reasons of dead letters")
        for reason in first_cells(FOLDER / "verdicts.md", heading)
    ],
)
def test_a_reason_on_the_page_is_one_that_the_code_gives(reason: str) -> None:
    parts = [part.strip() for part in reason.split("…") if part.strip(" :,;")]
    assert parts
    for part in parts:
        assert part in CODE, f"no code says {part!r}"


def test_every_reason_for_which_a_line_is_refused_is_on_the_page() -> None:
    given = {re.sub(r"{\w+}", "…", reason) for reason in re.findall(r'UnreadableLine\(f?"([^"]+)"', CODE)}
    assert given
    listed = set(first_cells(FOLDER / "verdicts.md", "Reasons of dead letters"))
    assert {
        reason for reason in given if reason not in listed and f"… {reason.partition(' ')[2]}" not in listed
    } == set()
