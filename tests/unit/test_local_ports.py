"""Ports of the local stack: kept over restarts, given up only to a stranger."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.local import ports


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.create_server((ports.HOST, ports.choose(taken=set()))) as server:
        yield server


def test_the_same_ports_are_kept_for_the_next_start(tmp_path: Path) -> None:
    first = ports.keep(tmp_path / "ports.json", "broker", "controller")
    assert ports.keep(tmp_path / "ports.json", "broker", "controller") == first
    assert ports.kept(tmp_path / "ports.json") == first
    assert first["broker"] != first["controller"]


def test_a_port_that_a_stranger_took_is_replaced_and_the_other_kept(tmp_path: Path, stranger: socket.socket) -> None:
    taken = stranger.getsockname()[1]
    free = ports.choose(taken={taken})
    (tmp_path / "ports.json").write_text(f'{{"broker":{taken},"controller":{free}}}')
    now = ports.keep(tmp_path / "ports.json", "broker", "controller")
    assert now["broker"] != taken
    assert now["controller"] == free
    assert ports.kept(tmp_path / "ports.json") == now


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="there is no file"),
        pytest.param("", id="the file is empty"),
        pytest.param('{"broker": 1', id="the file is torn"),
        pytest.param('{"broker": "x"}', id="the file holds no number"),
    ],
)
def test_without_a_whole_file_no_port_is_kept(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ports.json"
    if content is not None:
        path.write_text(content)
    assert ports.kept(path) == {}
    assert ports.keep(path, "broker")["broker"] in ports.RANGE


def test_two_names_never_get_the_same_port(tmp_path: Path) -> None:
    free = ports.choose(taken=set())
    (tmp_path / "ports.json").write_text(f'{{"broker":{free},"controller":{free}}}')
    now = ports.keep(tmp_path / "ports.json", "broker", "controller")
    assert now["broker"] == free
    assert now["controller"] != free


def test_a_port_is_free_until_someone_listens(stranger: socket.socket) -> None:
    taken = stranger.getsockname()[1]
    assert not ports.is_free(taken)
    assert ports.listens(taken)
    stranger.close()
    assert ports.is_free(taken)
    assert not ports.listens(taken)
