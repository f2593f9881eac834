"""Finished parts on disk: what is used again, and what is not."""

from pathlib import Path

import numpy as np

from NISFCore.benchmark.store import PartStore, code_hash, plain, text_hash


def test_a_part_comes_back_as_it_was(tmp_path: Path) -> None:
    store = PartStore(tmp_path / "parts ä", "key")
    assert store.load("a-1") is None
    arrays = {"x/y": np.arange(6, dtype=np.float32).reshape(2, 3)}
    store.save("a-1", {"mm": np.array([1.0, np.nan]), "n": np.int64(3), "t": (1, 2.5)}, arrays)
    assert store.load("a-1") == {"mm": [1.0, None], "n": 3, "t": [1, 2.5]}
    again = store.arrays("a-1")
    assert list(again) == ["x/y"]
    np.testing.assert_array_equal(again["x/y"], arrays["x/y"])
    assert store.arrays("a-2") == {}


def test_parts_of_another_key_and_broken_ones_are_not_used(tmp_path: Path) -> None:
    PartStore(tmp_path, "old").save("a", {"x": 1})
    assert PartStore(tmp_path, "new").load("a") is None
    (tmp_path / "b.json").write_text('{"key": "new", "val', encoding="utf-8")
    (tmp_path / "b.npz").write_bytes(b"PK broken")
    (tmp_path / "c.json").write_text("[]", encoding="utf-8")
    store = PartStore(tmp_path, "new")
    assert store.load("b") is None
    assert store.load("c") is None
    assert store.arrays("b") == {}


def test_plain_has_no_numbers_that_json_lacks() -> None:
    assert plain({1: [np.float32(0.5), np.inf], "b": {"c": float("nan")}, "d": True}) == {
        "1": [0.5, None],
        "b": {"c": None},
        "d": True,
    }


def test_hashes_tell_apart() -> None:
    assert text_hash("ab", "c") != text_hash("a", "bc")
    assert text_hash("ab", b"c") == text_hash("ab", "c")
    assert code_hash() == code_hash()
