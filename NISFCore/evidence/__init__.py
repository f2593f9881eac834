"""What images say before and beside a fit: a network that labels single cine slices.

It has seen only simulated hearts (`NISFCore.phantom`) under random contrast; see
`docs/evidence.md` for the generator, the network, its confidence and its measured limits.
"""

from NISFCore.evidence.inference import EvidenceSettings, slice_evidence
from NISFCore.evidence.network import SliceNetwork, load_slice_network

__all__ = ["EvidenceSettings", "SliceNetwork", "load_slice_network", "slice_evidence"]
