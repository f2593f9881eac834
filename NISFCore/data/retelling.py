"""Telling of a study without the words by which its input is called.

Names of folders and files may be names of patients, whatever the headers say.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from NISFCore.data.study import CineSlice, CineStudy

MIN_LENGTH = 3
"""Shorter words are part of others ("1" of "12 phases"): they count as part of a path only."""


def retold(text: str, hidden: Sequence[str], instead: str) -> str:
    """A text in which `instead` stands for every hidden word, whatever its case."""
    for word in filter(None, hidden):
        pattern = re.escape(word)
        if len(word) < MIN_LENGTH and word.isascii():
            pattern = rf"(?<![^\s'\"/\\]){pattern}(?=[/\\:'\"]|$)"
        text = re.sub(pattern, lambda _: instead, text, flags=re.IGNORECASE)
    return text


def retold_study(study: CineStudy, hidden: Sequence[str], subject: str) -> CineStudy:
    """The study under the name `subject`, which also stands for hidden words in what it says."""

    def tell(text: str) -> str:
        return retold(text, hidden, subject)

    return replace(
        study,
        subject=subject,
        slices=tuple(_retold_slice(s, tell) for s in study.slices),
        excluded=tuple(
            replace(e, slice=_retold_slice(e.slice, tell), reason=tell(e.reason))
            for e in study.excluded
        ),
        warnings=tuple(tell(text) for text in study.warnings),
    )


def _retold_slice(item: CineSlice, tell: Callable[[str], str]) -> CineSlice:
    said = item.provenance
    notes = tuple(tell(note) for note in said.notes)
    provenance = replace(said, source=tell(said.source), series=tell(said.series), notes=notes)
    return replace(item, provenance=provenance)
