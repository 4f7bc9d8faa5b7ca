"""`tally atproto backfill` on real servers, against a host on loopback: what it waits for, and what it says."""

import pytest

from tallystick.settings import Settings
from tests.atproto_hosts import hosts
from tests.atproto_world import Repository
from tests.loads import shares
from tests.support import json_of, tally, tally_here


def test_a_backfill_is_over_once_every_repository_has_its_verdicts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    repositories = [Repository(f"abcdefghijklmnopqrstuvw{letter}") for letter in "xyz"]
    good, gone = [repository.did for repository in repositories[:2]], repositories[2].did
    with hosts() as world:
        monkeypatch.setenv("TALLY_ATPROTO__PLC_URL", world.url)
        monkeypatch.setenv("TALLY_ATPROTO__PRIVATE_HOSTS", "true")
        for repository in repositories:
            repository.commit({f"app.bsky.feed.post/{number}": {"text": str(number)} for number in range(5)})
            world.add(repository)
        del world.repositories[gone]
        listed = tally(settings, "atproto", "backfill", "--host", world.url, "--json")
        named = tally(settings, "atproto", "backfill", *(f"--did={did}" for did in good))
    result = json_of(listed)
    assert (listed.returncode, result["succeeded"], result["problems"]) == (1, False, [])
    assert result["repositories"] == {"all": 3, "succeeded": 2, "failed": 1, "mismatch": 0, "pending": 0}
    assert [(trouble["did"], trouble["stage"]) for trouble in result["troubles"]] == [(gone, "fetched")]
    assert all(share <= 100 and done <= total for _, share, done, total in shares(listed.stderr))
    assert named.returncode == 0, named.stdout + named.stderr
    assert "2 of 2 repositories succeeded, 0 failed, 0 do not tally" in named.stdout
    repos = json_of(tally_here(settings, "atproto", "repos", "--json"))
    assert repos["states"] == {"failed": 1, "synchronised": 2}
    tasks = {task["task"]: task["condition"] for task in json_of(tally_here(settings, "status", "--json"))["tasks"]}
    assert tasks.pop("atproto/lister/accounts") == "done"
    assert tasks["atproto/fetcher"] == "stopped"
