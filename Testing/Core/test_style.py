"""The design rails of CONTRIBUTING.md, measured on the source."""

import ast
import statistics

from Testing.Core.source_tree import Function, SourceFile, n_code_lines, source_files

MAX_MEDIAN_LINES = 8
MAX_P95_LINES = 40
MAX_FILE_LINES = 400
MIN_TEST_SHARE = 0.6

SOURCES = source_files("NISFCore") + source_files("NISFExtension")
TESTS = source_files("Testing")


def function_sizes(sources: list[SourceFile]) -> list[int]:
    return [n_code_lines(source, f) for source in sources for f in source.functions]


def total_code_lines(sources: list[SourceFile]) -> int:
    return sum(len(source.code_lines) for source in sources)


def is_public(function: Function) -> bool:
    return not function.name.startswith("_") or function.name == "__init__"


def test_functions_are_small() -> None:
    sizes = function_sizes(SOURCES)
    assert statistics.median(sizes) <= MAX_MEDIAN_LINES
    assert statistics.quantiles(sizes, n=20)[-1] <= MAX_P95_LINES


def test_files_are_short() -> None:
    sizes = {source.path: len(source.text.splitlines()) for source in SOURCES}
    assert {path: n for path, n in sizes.items() if n > MAX_FILE_LINES} == {}


def test_public_functions_say_what_they_return() -> None:
    silent = [
        f"{source.path}: {f.name}"
        for source in SOURCES
        for f in source.functions
        if is_public(f) and f.returns is None
    ]
    assert silent == []


def test_modules_open_with_a_docstring() -> None:
    bare = [s.path for s in SOURCES if s.code_lines and ast.get_docstring(s.tree) is None]
    assert bare == []


def test_there_is_enough_test_code() -> None:
    n_test, n_source = total_code_lines(TESTS), total_code_lines(SOURCES)
    assert n_test >= MIN_TEST_SHARE * n_source


def test_counting_code_lines() -> None:
    text = (
        '"""Doc."""\n'
        "\n"
        "def f(\n"
        "    a: int,\n"
        ") -> int:\n"
        '    """Doc\n'
        '    string."""\n'
        "    # comment\n"
        "    x = [\n"
        "        a,\n"
        "    ]\n"
        "\n"
        "    return x[0]  # why\n"
    )
    tree = ast.parse(text)
    source = SourceFile(source_files("NISFCore")[0].path, text, tree)
    assert source.code_lines == {3, 4, 5, 9, 10, 11, 13}
    assert n_code_lines(source, source.functions[0]) == 4
