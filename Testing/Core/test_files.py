"""Atomic output: all or nothing, and clear errors."""

from pathlib import Path

import pytest

from NISFCore.errors import OutputError
from NISFCore.files import (
    check_new_file,
    check_new_folder,
    new_folder,
    write_bytes_atomically,
    write_text_atomically,
)

ODD_NAME = "Ergebnis ä ♥ 心"


def names_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden leftovers too."""
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_and_overwritten_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / ODD_NAME
    write_bytes_atomically(path, b"first, longer")
    write_bytes_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert names_in(path.parent) == [ODD_NAME]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "a.txt", ODD_NAME)
    assert (tmp_path / "a.txt").read_bytes() == ODD_NAME.encode("utf-8")


def test_a_file_name_that_is_no_utf8_can_be_told(tmp_path: Path) -> None:
    name = "gr\udcf6\udcdfe"  # "größe" in Latin-1, as Python passes on what is no UTF-8
    write_text_atomically(tmp_path / "a.txt", f"folder {name}")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "folder gr??e"


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prior.safetensors"
    write_bytes_atomically(path, b"old")

    def disk_full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == [path.name]


def test_a_file_as_parent_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    below = tmp_path / "file" / "below"
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes_atomically(below, b"")
    with pytest.raises(OutputError, match="cannot write"):
        check_new_folder(below)
    with pytest.raises(OutputError, match="cannot write"), new_folder(below):
        pass
    assert names_in(tmp_path) == ["file"]


def test_a_target_that_is_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes_atomically(tmp_path / "folder", b"")
    assert names_in(tmp_path) == ["folder"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_folder_appears_whole(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / ODD_NAME
    if exists:
        path.mkdir()
    with new_folder(path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a").write_text("a")
        assert not exists or names_in(path) == []
    assert (path / "sub" / "a").read_text() == "a"
    assert names_in(tmp_path) == [ODD_NAME]


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_a_failing_block_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), new_folder(tmp_path / "out") as temporary:
        (temporary / "half").write_text("half")
        raise error
    assert names_in(tmp_path) == []


def test_an_os_error_in_the_block_becomes_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), new_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert names_in(tmp_path) == []


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_text_atomically(out / "mine", "keep")
    with pytest.raises(OutputError, match="not empty"), new_folder(out):
        pytest.fail("the block must not run")
    assert names_in(tmp_path) == ["out"]
    assert (out / "mine").read_text() == "keep"


def test_overwrite_replaces_the_folder_only_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_text_atomically(out / "old", "old")
    with pytest.raises(RuntimeError), new_folder(out, overwrite=True):
        raise RuntimeError
    assert names_in(out) == ["old"]
    with new_folder(out, overwrite=True) as temporary:
        (temporary / "new").write_text("new")
        assert names_in(out) == ["old"]
    assert names_in(out) == ["new"]
    assert names_in(tmp_path) == ["out"]


def test_only_a_folder_of_our_own_is_replaced(tmp_path: Path) -> None:
    """`--out` may be a home folder by mistake."""
    out = tmp_path / "out"
    write_text_atomically(out / "diary", "mine")
    with pytest.raises(OutputError, match=r"no result\.json"):
        check_new_folder(out, overwrite=True, marker="result.json")
    with pytest.raises(OutputError, match="not ours"), new_folder(out, True, "result.json"):
        pytest.fail("the block must not run")
    assert (out / "diary").read_text() == "mine"
    write_text_atomically(out / "result.json", "{}")
    with pytest.raises(OutputError, match="not empty"):
        check_new_folder(out, marker="result.json")
    with new_folder(out, overwrite=True, marker="result.json") as temporary:
        (temporary / "new").write_text("new")
    assert names_in(out) == ["new"]


def test_a_file_is_checked_before_a_long_job(tmp_path: Path) -> None:
    path = tmp_path / "new" / "prior.safetensors"
    check_new_file(path)
    assert names_in(path.parent) == []
    path.write_bytes(b"old")
    check_new_file(path, overwrite=True)
    with pytest.raises(OutputError, match="exists; choose another file"):
        check_new_file(path)
    with pytest.raises(OutputError, match="is a folder"):
        check_new_file(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="cannot write"):
        check_new_file(path / "below")


def test_when_the_new_folder_cannot_take_its_place_the_old_one_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_text_atomically(out / "old", "old")
    replace = Path.replace

    def refuse_new(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(13, "Permission denied")
        return replace(self, target)

    with pytest.raises(OutputError, match="Permission denied"):  # noqa: SIM117
        with new_folder(out, overwrite=True) as temporary:
            (temporary / "new").write_text("new")
            monkeypatch.setattr(Path, "replace", refuse_new)
    assert names_in(out) == ["old"]
    assert names_in(tmp_path) == ["out"]


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(OutputError, match="is a file; give a folder"):
        check_new_folder(tmp_path / "out", overwrite=True)


def test_the_check_leaves_no_trace_but_the_parent(tmp_path: Path) -> None:
    check_new_folder(tmp_path / "a" / "b")
    assert names_in(tmp_path / "a") == []


def test_the_current_folder_can_be_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_folder(Path()) as temporary:
        (temporary / "a").write_text("a")
    assert names_in(tmp_path / "here") == ["a"]


def test_a_name_that_is_too_long_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 400)
    with pytest.raises(OutputError, match="cannot write"):
        check_new_folder(path)
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes_atomically(path, b"")
