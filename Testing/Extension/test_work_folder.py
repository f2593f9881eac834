"""Temporary results, and what must never be removed."""

from pathlib import Path

import pytest

from NISFCore.errors import OutputError
from NISFLib.work_folder import WorkFolder


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    work.remove()
    assert list(tmp_path.iterdir()) == []


def test_every_path_is_new_and_goes_with_the_folder(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    paths = [work.new("study"), work.new("study"), work.new("result")]
    assert len(set(paths)) == 3
    assert not any(p.exists() for p in paths)
    paths[0].mkdir()
    work.discard(paths[0])
    work.discard(None)
    assert not paths[0].exists()
    paths[1].mkdir()
    work.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_the_user_chose_is_not_removed(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "..")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    work.new("x")
    work.discard(theirs)
    work.remove()
    assert theirs.is_dir()


def test_a_folder_that_was_cleaned_away_is_made_again(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    first = work.new("a").parent
    first.rmdir()
    assert work.new("b").parent.is_dir()


def test_no_room_for_temporary_files(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="choose another temporary folder"):
        WorkFolder(tmp_path / "nowhere").new("a")
