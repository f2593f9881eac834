"""Where the heart lies before a fit: what planes leave open is told by labels, by the user, or by
what the slice network sees."""

from dataclasses import replace

from NISFCore.data.anatomy import combined_hint, hint_from_labels
from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.guidance import Guidance
from NISFCore.data.study import CineStudy
from NISFCore.errors import StudyError
from NISFCore.evidence.inference import slice_evidence
from NISFCore.evidence.network import SliceNetwork
from NISFCore.geometry.frame import NO_HINT, AnatomyHint
from NISFCore.progress import CancelToken
from NISFCore.views import View

N_LOOKS = 2
"""How often the slice network looks for the heart: the second time about where it saw it."""


def planes_say(study: CineStudy) -> bool:
    """Whether the planes alone say where the LV axis and the RV are."""
    axes = {s.view for s in study.slices} - {View.SA}
    return study.has_patient_orientation and View.LA_4CH in axes and len(axes) > 1


def labels_hint(study: CineStudy, guidance: Guidance | None) -> AnatomyHint:
    """What labels say, unless planes say it better: the middle of a few labelled slices is not that
    of the heart."""
    return NO_HINT if planes_say(study) else hint_from_labels(study, guidance)


def hint_of(study: CineStudy, guidance: Guidance | None, anatomy: AnatomyHint) -> AnatomyHint:
    """What labels and the user say of the heart's place.

    Raises:
        StudyError: if that is needed and missing: likelihood chooses the wrong one of hearts that
            are mirrored or upside down, so nothing is chosen.
    """
    hint = combined_hint(labels_hint(study, guidance), anatomy)
    if not study.has_patient_orientation and not hint.says_orientation:
        raise StudyError(
            "the files do not say how the patient lay, so it is unknown where the RV and the base "
            "are: give labels of two short-axis slices or more with LV and RV, or --rv-side and "
            "--base-slice as seen by `nisf inspect`"
        )
    return hint


def heart_as_seen(
    study: CineStudy,
    hint: AnatomyHint,
    network: SliceNetwork,
    device: str,
    cancel: CancelToken,
) -> AnatomyHint:
    """Where the slice network sees the LV axis and the RV at end-diastole, in short-axis slices.

    It does not say which end is the base: sections through an atrium are large too.

    Raises:
        Cancelled: between two slices.
    """
    seen = NO_HINT
    if not study.of_view(View.SA):
        return seen
    for _ in range(N_LOOKS):
        frame = canonical_frame_of(study, combined_hint(seen, hint))
        entries = slice_evidence(
            study,
            frame.canonical_from_ras,
            network,
            phases_per_slice=1,
            device=device,
            cancel=cancel,
        )
        labels = hint_from_labels(study, Guidance(entries), "the slice network")
        seen = replace(labels, base_ras=None)
    return seen
