"""What the name of a series or file suggests about its view: only ever a hint.

Series are often mislabelled (a 3-chamber called "4CH", a right-ventricular 2-chamber called
"2CH"), so the geometry decides and a name merely tips the balance.
"""

import re

from NISFCore.views import View


def _words(pattern: str) -> re.Pattern[str]:
    """Matches whole words, where underscores and hyphens also separate."""
    return re.compile(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", re.IGNORECASE)


_CHAMBERS = r"[ _-]?(?:ch|chamber|chambers|chb|kammer)"

# The first match counts: right-ventricular names come before those they contain.
_PATTERNS: tuple[tuple[re.Pattern[str], View], ...] = (
    (_words(rf"rv[ot]*|rvot\w*|rv[ _-]?(?:in|out)flow|r2{_CHAMBERS}|rvla"), View.OTHER),
    (_words(r"ao|aorta|aortic|pulm\w*|axial|tra|sag|cor|coronal"), View.OTHER),
    (_words(rf"(?:la[x]?[ _-]?)?4{_CHAMBERS}|four{_CHAMBERS}|hla"), View.LA_4CH),
    (_words(rf"(?:la[x]?[ _-]?)?3{_CHAMBERS}|three{_CHAMBERS}|lvot|aplax"), View.LA_3CH),
    (_words(rf"(?:la[x]?[ _-]?)?2{_CHAMBERS}|two{_CHAMBERS}|vla"), View.LA_2CH),
    (_words(r"sa[x]?(?:[ _-]?\d+)?|saxs?|short[ _-]?axis|cinesax|kurzachse"), View.SA),
)


def view_hint(name: str) -> View | None:
    """The view that a name suggests, `View.OTHER` for one that cannot be used, None if silent."""
    return next((view for pattern, view in _PATTERNS if pattern.search(name)), None)


_VIEW_FOLDER = re.compile(r"^(?:sax|[24]ch)_\d+$", re.IGNORECASE)
"""Folders of the Data Science Bowl 2015: sax_5, 2ch_21, 4ch_33."""


def described_view(description: str, folder: str) -> str:
    """The text that hints the view of a series: its description, or where that is silent the name
    of its folder, if folders are named after views."""
    is_silent = view_hint(description) is None
    return folder if is_silent and _VIEW_FOLDER.match(folder) else description
