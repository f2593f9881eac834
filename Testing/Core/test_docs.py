"""The documents are true: their blocks run, their references exist, their commands parse."""

import ast
import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path

import pytest
import tyro

from NISFCore.cli import Command
from Testing.conftest import REPOSITORY

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])


def code_blocks(path: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    """Arguments of every `nisf ...` line in shell blocks."""
    lines = [line for block in code_blocks(path, "bash") for line in block.splitlines()]
    starts = re.compile(r"^(?:torchrun .*-m NISFCore|(?:\.venv/bin/)?nisf) ")
    return [shlex.split(starts.sub("", s), comments=True) for s in lines if starts.match(s)]


def test_the_story_of_the_conventions_runs() -> None:
    story = "".join(code_blocks(REPOSITORY / "docs" / "conventions.md", "python"))
    example = doctest.DocTestParser().get_doctest(story, {}, "conventions.md", None, 0)
    output = io.StringIO()
    # exception messages are compared too: they are part of what is promised
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=output.write)
    assert len(example.examples) > 20
    assert runner.summarize(verbose=False).failed == 0, output.getvalue()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_to_files(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    local = [t for t in targets if not re.match(r"[a-z]+:", t)]
    assert [t for t in local if not (path.parent / t).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_named_files_and_functions_exist(path: Path) -> None:
    """`NISFCore/x/y.py` and `NISFCore/x/y.py:name` (also `Class.method`)."""
    text = path.read_text(encoding="utf-8")
    references = re.findall(r"((?:NISF\w+|Testing)/[\w/]+\.py)(?::([\w.]+))?", text)
    missing = [f"{file}:{name}" for file, name in references if not is_defined(file, name)]
    assert missing == []


def is_defined(file: str, name: str) -> bool:
    """Whether a file of the repository exists and defines `name` (anything if empty)."""
    path = REPOSITORY / file
    if not path.is_file():
        return False
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for part in filter(None, name.split(".")):
        found = [node for node in body if part in _names(node)]
        if not found:
            return False
        body = found[0].body if isinstance(found[0], ast.ClassDef) else []
    return True


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []


def test_missing_names_are_noticed() -> None:
    assert is_defined("NISFCore/geometry/frame.py", "CanonicalFrame.assumptions")
    assert not is_defined("NISFCore/geometry/frame.py", "CanonicalFrame.nothing")
    assert not is_defined("NISFCore/geometry/nowhere.py", "")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_are_understood(path: Path) -> None:
    for arguments in commands(path):
        parse(arguments)


def test_a_wrong_command_is_noticed() -> None:
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        parse(["fit", "study", "--out", "result", "--no-such-option"])


def parse(arguments: list[str]) -> object:
    """What the program would run."""
    return tyro.cli(Command, args=arguments, prog="nisf")  # type: ignore[call-overload,unused-ignore]


def test_the_readme_shows_the_commands_and_valid_python() -> None:
    readme = REPOSITORY / "README.md"
    shown = {arguments[0] for arguments in commands(readme)}
    assert {"inspect", "fit", "export", "evaluate", "simulate", "train"} <= shown
    for block in code_blocks(readme, "python"):
        body = ast.parse(block).body
        imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module([*imports], []), "README.md", "exec"), {})


def test_ci_runs_what_the_readme_says() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in readme
    assert ci.strip().splitlines()[-1] == "make test"


def test_the_licence_is_there() -> None:
    licence = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence and "Version 2.0, January 2004" in licence
