"""Whatever happens to files of objects and to their readers: every event arrives, none counts twice, claims tally."""

import gzip
import json
import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.cowrie.formats import Format
from tallystick.contracts.stages import Claimed
from tests.reading_world import World

EVENTS = [
    {
        "eventid": f"cowrie.{n}",
        "timestamp": f"2026-11-23T03:43:4{n}Z",
        "session": f"s{n % 3}",
        "input": 'a {"b":\n}' * n,
    }
    for n in range(10)
]
WRITTEN = {
    json.dumps(event, indent=2).encode() + b"\n": json.dumps(event, separators=(",", ":")).encode() for event in EVENTS
}
LONG = json.dumps({**EVENTS[0], "input": "x" * 600}, indent=2).encode() + b"\n"
OBJECTS = [*WRITTEN]
PIECES = st.lists(
    st.sampled_from(
        [*OBJECTS, *OBJECTS, OBJECTS[3][:40], OBJECTS[4][:57], OBJECTS[5][30:], b"}\n", b"\0\0", LONG, b"\n\n"]
    ),
    max_size=8,
)
DEATHS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=2)


@settings(max_examples=100, deadline=None)
@given(
    rounds=st.lists(st.tuples(PIECES, st.integers(0, 60), DEATHS), min_size=1, max_size=4),
    packed=st.booleans(),
)
def test_a_file_that_grows_under_readers_that_die_ends_in_a_claim_that_tallies(
    rounds: list[tuple[list[bytes], int, list[tuple[int, int]]]], packed: bool
) -> None:
    world = World(window_bytes=150, max_line_bytes=400, max_events_per_record=2)
    content = b""
    whole: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cowrie.json"
        for pieces, half, deaths in rounds:
            content += b"".join(pieces)
            whole += [WRITTEN[piece] for piece in pieces if piece in WRITTEN]
            # The last object may be half written when the reader comes, and is finished in the next round.
            written = content[: len(content) - min(half, len(pieces[-1]) - 1 if pieces else 0)]
            path.write_bytes(gzip.compress(written) if packed else written)
            os.utime(path, (1_700_000_000, 1_700_000_000))
            for records, kept in deaths:
                world.run(path, form=Format.PRETTY, records=records, kept=kept)
            outcome = world.read(path, form=Format.PRETTY)
            assert (outcome.state, outcome.counts["bytes"]) == ("claimed", len(written))
        path.write_bytes(content)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        world.read(path, form=Format.PRETTY)
    assert {line for _, _, line in world.events()} == {*whole}
    for claim in {claim.source: claim for claim in world.stage_events(Claimed)}.values():
        counts = claim.counts
        assert (counts["lines"], counts["blank"]) == (counts["events"] + counts["dead"], 0)
        assert world.observed(claim.source) == (counts["events"], counts["dead"])
        assert world.ends_hold(claim)
