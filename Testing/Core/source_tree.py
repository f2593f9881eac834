"""NISFCore's own source as syntax trees, for the tests of its layers and its style."""

import ast
import io
import tokenize
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
PACKAGE = "NISFCore"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class SourceFile:
    """One Python file: path relative to the repository, text and syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """Dotted name, e.g. "NISFCore.geometry.rigid"."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def code_lines(self) -> set[int]:
        """Lines that hold code: no blank line, comment or docstring."""
        ignored = (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        )
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in ignored:
                lines |= set(range(token.start[0], token.end[0] + 1))
        return lines - _docstring_lines(self.tree)

    @property
    def functions(self) -> list[Function]:
        """All functions and methods, nested ones too."""
        return [n for n in ast.walk(self.tree) if isinstance(n, Function)]


def source_files(folder: str) -> list[SourceFile]:
    """Every Python file under `folder` of the repository, in path order."""
    return [_read(p) for p in sorted((REPOSITORY / folder).rglob("*.py"))]


def n_code_lines(source: SourceFile, function: Function) -> int:
    """Code lines of a function, its signature and decorators not counted."""
    body = range(function.body[0].lineno, (function.end_lineno or 0) + 1)
    return len(source.code_lines & set(body))


def imported_modules(tree: ast.Module) -> list[str]:
    """Absolute names of everything that is imported, at module level or inside functions."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names += [f"{prefix}.{alias.name}" for alias in node.names]
    return names


def _read(path: Path) -> SourceFile:
    text = path.read_text(encoding="utf-8")
    return SourceFile(path.relative_to(REPOSITORY), text, ast.parse(text))


def _docstring_lines(tree: ast.Module) -> set[int]:
    """Lines of strings that stand alone as a statement (docstrings, also of attributes)."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            lines |= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return lines
