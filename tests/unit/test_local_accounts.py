"""Who PostgreSQL runs as: PostgreSQL refuses root."""

import os
from pathlib import Path

import pytest

from tallystick.errors import ServiceError
from tallystick.local import accounts


def test_an_ordinary_user_runs_it_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert accounts.choose(tmp_path) is None


def test_root_runs_it_as_the_user_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("TALLY_PG_USER", "nobody")
    account = accounts.choose(tmp_path / "new")
    assert account is not None
    assert account.name == "nobody"
    assert account.uid != 0


def test_a_user_that_was_asked_for_and_is_not_there_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("TALLY_PG_USER", "no-such-user")
    with pytest.raises(ServiceError, match=r"no user no-such-user.*TALLY_PG_USER"):
        accounts.choose(tmp_path / "new")
