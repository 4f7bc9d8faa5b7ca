"""How a load is shown in a pipe: seldom, truthfully, and without control characters."""

import io

import pytest

from tallystick.cli.progress import LineView, Stage


@pytest.mark.parametrize(
    ("stage", "share"),
    [
        pytest.param(Stage("read", 0, 0, "bytes"), 0.0, id="nothing is known yet"),
        pytest.param(Stage("read", 1, 4, "bytes"), 0.25, id="under way"),
        pytest.param(Stage("read", 5, 4, "bytes"), 1.0, id="a file that was cut off after it was read"),
    ],
)
def test_a_share_is_never_above_1(stage: Stage, share: float) -> None:
    assert stage.share == share


def test_a_line_is_shown_when_something_changed_and_some_time_has_passed_or_all_is_done() -> None:
    now, stream = [0.0], io.StringIO()
    view = LineView(stream, seconds=2.0, clock=lambda: now[0])
    for at, done in ((0.0, 1), (1.0, 2), (2.5, 3), (9.0, 3), (9.1, 4), (9.2, 4)):
        now[0] = at
        view.show([Stage("read", done * 1_000, 4_000, "bytes")])
    assert stream.getvalue().splitlines() == [
        "read 25 % (1,000/4,000 bytes)",
        "read 75 % (3,000/4,000 bytes)",
        "read 100 % (4,000/4,000 bytes)",
    ]


def test_what_is_said_reaches_no_terminal_as_a_control_code() -> None:
    stream = io.StringIO()
    LineView(stream).say("waiting for a\x1b[31m[red]\nb.json")
    assert stream.getvalue() == "waiting for a\\x1b[31m[red]\\nb.json\n"
