"""Registers that are files: read, read anew when they change, and kept when they cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kairos.adapters.registers import Registers, read_register
from kairos.errors import SettingsError


def test_a_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "dnd.txt"
    path.write_text("# the regulator's, of today\n+12025550123\n\n12025550100  # a friend\r\n12025550123\n")
    numbers = read_register(path)
    assert len(numbers) == 2
    asked = ("12025550123", "12025550100", "12025550101", "", "x", "imsi:001", "9" * 30)
    assert [number in numbers for number in asked] == [True, True, False, False, False, False, False]


@pytest.mark.parametrize("line", ["five", "12", "+1 202 555 0123", "9" * 16])
def test_what_is_no_number_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "dnd.txt"
    path.write_text(f"12025550123\n{line}\n")
    with pytest.raises(SettingsError, match=r"dnd.txt:2: .* is no number; write one international number a line"):
        read_register(path)


def test_a_file_that_changed_is_read_and_one_that_broke_stays_as_it_was(tmp_path: Path) -> None:
    registers, path = Registers(tmp_path), tmp_path / "dnd.txt"
    assert registers.look(["dnd"]) == {}
    assert "No such file" in registers.trouble["dnd"]
    for turn, (text, listed, trouble) in enumerate(
        [("12025550123", True, False), ("12025550100", False, False), ("broken!", False, True), ("", False, False)]
    ):
        path.write_text(text)
        os.utime(path, (turn, turn))
        found = registers.look(["dnd"])
        assert ("12025550123" in found["dnd"]) == listed
        assert ("dnd" in registers.trouble) == trouble
    assert registers.look(["dnd"])["dnd"] is found["dnd"], "it is not read again"
    path.unlink()
    assert registers.look(["dnd"])["dnd"] is found["dnd"]
