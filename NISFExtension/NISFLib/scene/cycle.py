"""The cardiac cycle in the scene: the browser, its master sequence, and sequences in step with it.

Slices differ in RR and number of phases. A sequence browser shows, for a time that a sequence
lacks, the item BEFORE it; so every sequence of ours has an item at each time of the master, chosen
by the nearest cycle fraction, the cycle being closed. Items that show the same frame share it.

The master holds, per phase, the table of the volume-time curve's cursor: the browser alone moves
the cursor, also where this extension is not installed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from NISFLib.scene.nodes import NOW, ROLE, SLICE, Nodes, Role, get_json, mark, put_json

INDEX_NAME, INDEX_UNIT = "cycle", "%"
FRACTIONS, ED_PHASE, ES_PHASE = "NISF.cycle_fractions", "NISF.ed_phase", "NISF.es_phase"
CURSOR_COLUMNS = ("cycle (%)", "cursor (ml)")
PLAYBACK_FPS = 15.0

Fractions = npt.NDArray[np.float64]


def index_text(cycle_fraction: float) -> str:
    """The index value of a time: percent of the cycle, as in our `.seq.nrrd` files."""
    return f"{100 * cycle_fraction:.6g}"


def nearest_phases(wanted: Fractions, available: Fractions) -> npt.NDArray[np.intp]:
    """For every wanted time the index `(n_wanted,)` of the nearest available one; t and t + 1 are
    the same time."""
    gap = np.abs(np.asarray(wanted)[:, None] - np.asarray(available)[None, :]) % 1
    return np.argmin(np.minimum(gap, 1 - gap), axis=1)


def add_cycle(nodes: Nodes, fractions: Fractions, highest_ml: float = 1.0) -> Any:
    """Add the master sequence and the browser; returns the browser.

    Args:
        fractions: `(n_phases,)` times of the cycle, increasing.
        highest_ml: height of the cursor in the plot.
    """
    master = nodes.add("vtkMRMLSequenceNode", Role.CYCLE, "NISF cardiac cycle")
    prepare_sequence(master)
    for fraction in fractions:
        table = _cursor_table(100 * float(fraction), highest_ml)
        mark(table, Role.CYCLE_NOW)
        master.SetDataNodeAtValue(table, index_text(fraction))
    browser = nodes.add("vtkMRMLSequenceBrowserNode", Role.BROWSER, "NISF heart")
    describe(nodes, FRACTIONS, [float(t) for t in fractions])
    browser.SetAndObserveMasterSequenceNodeID(master.GetID())
    browser.SetPlaybackRateFps(PLAYBACK_FPS)
    browser.SetPlaybackLooped(True)
    update_now(nodes, browser)
    return browser


def _cursor_table(percent: float, highest_ml: float) -> Any:
    table = slicer.vtkMRMLTableNode()
    table.SetName("NISF phase cursor")
    slicer.util.updateTableFromArray(
        table, np.array([[percent, 0.0], [percent, highest_ml]]), list(CURSOR_COLUMNS)
    )
    return table


def prepare_sequence(sequence: Any) -> None:
    """Give a sequence our index."""
    sequence.SetIndexName(INDEX_NAME)
    sequence.SetIndexUnit(INDEX_UNIT)
    sequence.SetIndexType(slicer.vtkMRMLSequenceNode.NumericIndex)


def add_sequence(
    nodes: Nodes,
    role: Role,
    name: str,
    fractions: Fractions,
    data_node: Callable[[int], Any],
    slice_name: str | None = None,
) -> Any:
    """Add a sequence and let the browser drive it; returns the sequence.

    Args:
        data_node: gives the node of phase k, outside any scene; the sequence copies it.
    """
    sequence = nodes.add("vtkMRMLSequenceNode", role, name, slice_name)
    prepare_sequence(sequence)
    for k, fraction in enumerate(fractions):
        node = data_node(k)
        node.SetName(name)
        mark(node, NOW[role], slice_name)  # at every phase the current node gets these again
        sequence.SetDataNodeAtValue(node, index_text(fraction))
    return sequence


def replace_phase(nodes: Nodes, role: Role, k: int, node: Any) -> None:
    """Put another node in the place of phase k of a sequence; `update_now` shows it."""
    sequence = nodes.one(role)
    node.SetName(sequence.GetName())
    mark(node, NOW[role])
    sequence.SetDataNodeAtValue(node, sequence.GetNthIndexValue(k))


def drive(nodes: Nodes, *sequences: Any) -> None:
    """Let the browser drive sequences; their current-phase nodes appear in the scene."""
    browser = nodes.one(Role.BROWSER)
    for sequence in sequences:
        _attach(browser, sequence)
    update_now(nodes, browser)


def _attach(browser: Any, sequence: Any) -> None:
    browser.AddSynchronizedSequenceNodeID(sequence.GetID())
    if sequence.GetAttribute(ROLE) == Role.SEGMENTATION.value:
        # what the user paints belongs to the phase it was painted in
        browser.SetSaveChanges(sequence, True)


def update_now(nodes: Nodes, browser: Any) -> None:
    """Make the current-phase nodes of the sequences that have none yet."""
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def drive_again(nodes: Nodes) -> None:
    """Where the browser or its master was deleted, make both again and let the browser drive what
    is left; what views show stays."""
    browser, master = nodes.one(Role.BROWSER), nodes.one(Role.CYCLE)
    rest = [n for n in nodes.all() if n.GetAttribute(ROLE) in _DRIVEN]
    kept = browser or master
    if not rest or (browser is not None and master is not None) or kept is None:
        return
    attributes = {key: kept.GetAttribute(key) for key in kept.GetAttributeNames()}
    fractions = np.array(get_json(kept, FRACTIONS))
    nows = [now_of_sequence(nodes, sequence) for sequence in rest]
    nodes.remove(Role.BROWSER, Role.CYCLE, Role.CYCLE_NOW)
    browser = add_cycle(nodes, fractions)
    for key in set(attributes) - {ROLE}:
        browser.SetAttribute(key, attributes[key])
        nodes.one(Role.CYCLE).SetAttribute(key, attributes[key])
    for sequence, now in zip(rest, nows, strict=True):
        _attach(browser, sequence)
        if now is not None:
            browser.AddProxyNode(now, sequence, False)
    update_now(nodes, browser)


_DRIVEN = {role.value for role in NOW if role is not Role.CYCLE}


def now_of_sequence(nodes: Nodes, sequence: Any) -> Any:
    """The current-phase node of a sequence by its attributes, also without a browser."""
    return nodes.one(NOW[Role(sequence.GetAttribute(ROLE))], sequence.GetAttribute(SLICE))


def n_hearts(nodes: Nodes) -> int:
    """How many browsers of ours there are: more than one if a saved scene was added to another
    one. The first is the one that is shown."""
    return len(nodes.all(Role.BROWSER))


def describe(nodes: Nodes, key: str, value: Any) -> None:
    """Keep a JSON value with the cycle: with the browser and, should it be deleted, its master."""
    for role in (Role.BROWSER, Role.CYCLE):
        put_json(nodes.one(role), key, value)


def description(nodes: Nodes, key: str, default: Any = None) -> Any:
    """What `describe` kept."""
    return get_json(nodes.one(Role.BROWSER), key, default)


def now_of(nodes: Nodes, role: Role, slice_name: str | None = None) -> Any:
    """The current phase of the sequence of this role, or None."""
    browser, sequence = nodes.one(Role.BROWSER), nodes.one(role, slice_name)
    if browser is None or sequence is None:
        return None
    return browser.GetProxyNode(sequence)
