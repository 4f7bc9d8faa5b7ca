"""Slots: one name a process, the same after a restart, free the moment its holder is gone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.errors import ServiceError
from tallystick.slots import member_name

HOLD = """
import sys
from pathlib import Path
from tallystick.slots import member_name
with member_name(Path(sys.argv[1]), "group") as name:
    print(name, flush=True)
    sys.stdin.read()
"""


def test_members_of_one_group_have_names_of_their_own(tmp_path: Path) -> None:
    with member_name(tmp_path, "a") as first, member_name(tmp_path, "a") as second, member_name(tmp_path, "b") as other:
        assert first != second
        assert other == first, "another group begins anew"


def test_a_name_is_free_again_once_its_process_has_been_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    name = holder.stdout.readline().strip()
    with member_name(tmp_path, "group") as mine:
        assert mine != name
    holder.kill()
    holder.communicate()
    with member_name(tmp_path, "group") as mine:
        assert mine == name


def test_what_goes_wrong_inside_is_not_mistaken_for_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="mine"), member_name(tmp_path, "group"):
        raise PermissionError("mine")


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "group-0.lock").mkdir()
    with pytest.raises(ServiceError, match="set TALLY_HOME"), member_name(tmp_path, "group"):
        pass
