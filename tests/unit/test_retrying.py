"""The retrier without Kafka: what a plan sends, what it claims, and that it goes on where it was cut short."""

import json
from pathlib import Path

import pytest

from producers.checkpoints import Checkpoints
from producers.cowrie.reading import Tools
from producers.cowrie.retrying import Planned, Retrying, plan_letter, read_plan, retried, write_plan
from producers.progress import FileOutcome
from tallystick.contracts.cowrie import EVENTS, RETRY_KIND, UnreadableLine, session_key
from tallystick.contracts.dead_letters import LetterRef, decode_ref
from tallystick.contracts.retries import HEADER, retry_source
from tallystick.contracts.stages import Claimed, Started
from tallystick.errors import UsageError
from tests.reading_world import Killed, World, dies_after

REF = LetterRef("00aa", 100, "read", "", -1, 0, 5)
EVENT = b'{"eventid":"cowrie.x","timestamp":"2026-11-23T03:00:00.000000Z","session":"s"}'


def planned(number: int) -> Planned:
    ref = LetterRef("00aa", number, "read", "", -1, 0, number)
    return Planned(ref, session_key("pot", f"s{number % 3}"), EVENT.replace(b"cowrie.x", b"cowrie.%d" % number))


PLAN = [planned(number) for number in range(1_200)]


def run(world: World, path: Path) -> FileOutcome:
    checkpoints = Checkpoints(world.settings, world.publisher, world.checkpoints())
    tools = Tools(world.settings, world.publisher, checkpoints, "unknown", lambda: False, world.progress.append)
    outcome = Retrying(tools, path).run()
    world.publisher.flush()
    return outcome


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan"
    write_plan(path, PLAN)
    return path


def test_every_event_is_sent_with_the_letter_that_it_answers_and_claimed(plan: Path) -> None:
    world = World()
    outcome = run(world, plan)
    source = retry_source(retried(PLAN))
    assert (outcome.source, outcome.state, outcome.claimed) == (source, "claimed", True)
    sent = world.publisher.of(EVENTS.name)
    assert [(decode_ref(one.headers[HEADER]), one.key, one.value) for one in sent] == [
        (one.letter, one.key, one.event) for one in PLAN
    ]
    [claim] = world.stage_events(Claimed)
    assert (claim.kind, claim.name, claim.stage) == (RETRY_KIND, "retry of 1200 dead letters", "read")
    assert claim.counts == {"lines": 1_200, "events": 1_200, "dead": 0, "blank": 0}
    assert world.ends_hold(claim)
    assert world.observed(source) == (1_200, 0)


@pytest.mark.parametrize("records", [0, 1, 3, 400, 700, 1_204])
@pytest.mark.parametrize("kept", [0, 10])
def test_one_that_died_goes_on_and_every_event_counts_once(plan: Path, records: int, kept: int) -> None:
    world = World()
    world.publisher.before_send = dies_after(records)
    with pytest.raises(Killed):
        run(world, plan)
    world.publisher.before_send = None
    world.publisher.lose(keep=kept)
    outcome = run(world, plan)
    claim = world.stage_events(Claimed)[-1]
    assert claim.counts["events"] == 1_200
    assert world.observed(outcome.source) == (1_200, 0)
    assert world.ends_hold(claim)


def test_the_same_plan_again_is_the_same_claim_and_sends_nothing(plan: Path) -> None:
    world = World()
    first = run(world, plan)
    sent = len(world.publisher.of(EVENTS.name))
    again = run(world, plan)
    assert (again.source, again.attempt) == (first.source, first.attempt)
    assert len(world.publisher.of(EVENTS.name)) == sent
    assert len(world.stage_events(Started)) == 1
    first_claim, second_claim = world.stage_events(Claimed)
    assert (first_claim.counts, first_claim.ends) == (second_claim.counts, second_claim.ends)


@pytest.mark.parametrize(
    ("content", "sensor", "key", "event"),
    [
        pytest.param(EVENT, "pot", ("pot", "s"), EVENT, id="an event that names no sensor"),
        pytest.param(EVENT, "", ("unknown", "s"), EVENT, id="nor does the letter"),
        pytest.param(
            EVENT[:-1] + b',"sensor":"own"}', "pot", ("own", "s"), EVENT[:-1] + b',"sensor":"own"}', id="its own sensor"
        ),
        pytest.param(b" " + EVENT, "pot", ("pot", "s"), b" " + EVENT, id="its bytes are its identity"),
        pytest.param(
            json.dumps(json.loads(EVENT), indent=2).encode(), "pot", ("pot", "s"), EVENT, id="an object over many lines"
        ),
    ],
)
def test_content_that_is_an_event_is_planned(content: bytes, sensor: str, key: tuple[str, str], event: bytes) -> None:
    found = plan_letter(REF, content, sensor=sensor, max_line_bytes=1_000)
    assert found == Planned(REF, session_key(*key), event)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"junk", "not JSON", id="no JSON"),
        pytest.param(EVENT + b"\n" + EVENT, "not JSON", id="two events"),
        pytest.param(EVENT[:-1] + b',"x":"' + b"x" * 1_000 + b'"}', "line is too long", id="too long"),
        pytest.param(b'{"eventid":"e"}', "timestamp is missing", id="no time"),
    ],
)
def test_content_that_still_is_none_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableLine) as raised:
        plan_letter(REF, content, sensor="", max_line_bytes=1_000)
    assert raised.value.reason == reason


def test_a_plan_that_is_none_is_refused_with_its_place(tmp_path: Path, plan: Path) -> None:
    assert list(read_plan(plan)) == PLAN
    with pytest.raises(UsageError, match="can't be read"):
        list(read_plan(tmp_path / "nowhere"))
    plan.write_bytes(b"junk\n")
    with pytest.raises(UsageError, match="line 1: not part of a plan"):
        list(read_plan(plan))


def test_an_event_that_is_retried_keeps_the_clock_of_its_sensor(tmp_path: Path) -> None:
    world, path = World(), tmp_path / "plan"
    content = EVENT.replace(b"000000Z", b"000000")
    write_plan(path, [plan_letter(REF, content, sensor="pot", max_line_bytes=1_000, zone="Europe/Berlin")])
    run(world, path)
    [sent] = world.publisher.of(EVENTS.name)
    assert (sent.value, sent.headers["zone"]) == (content, b"Europe/Berlin")
