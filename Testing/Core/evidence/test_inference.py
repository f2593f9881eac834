"""`slice_evidence`: every label comes back to its own place, and doubt shows."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from NISFCore.data.canonical import canonical_frame_of
from NISFCore.data.guidance import Guidance, SliceGuidance
from NISFCore.data.study import CineSlice, CineStudy
from NISFCore.errors import Cancelled, ConfigError
from NISFCore.evidence import EvidenceSettings, load_slice_network, slice_evidence
from NISFCore.evidence.inference import ask, base_factors, smallest_cavity_fraction
from NISFCore.evidence.network import SliceNetwork
from NISFCore.evidence.phases import circular_distance, nearest_phase
from NISFCore.geometry.planes import pixel_centres_ras
from NISFCore.geometry.rigid import rigid, rotation_from_rotvec
from NISFCore.geometry.spaces import Affine, apply_affine
from NISFCore.labels import FOREGROUND, N_LABELS, Label
from NISFCore.phantom import CLINICAL, SimulatedStudy, sample_heart, simulate_study
from NISFCore.progress import CancelToken
from NISFCore.views import View
from Testing.Core.evidence.hearts import BlobNetwork, blob_network, still_study

UNSEEN_SEED = 7_654_321
CANONICAL_FROM_RAS = rigid(rotation_from_rotvec([0.5, -0.8, 0.3]), [12.0, -30.0, 44.0])


@pytest.fixture(scope="module")
def phantom() -> SimulatedStudy:
    """A whole simulated examination that no training has seen."""
    protocol = replace(
        CLINICAL,
        n_sa_slices=7,
        slice_spacing_mm=15.0,
        pixel_mm=2.0,
        fov_mm=240.0,
        n_phases=10,
        n_profile=1,
        n_sub_pixels=1,
    )
    return simulate_study(sample_heart(UNSEEN_SEED), protocol, UNSEEN_SEED)


def oblique(rotvec: list[float], centre_mm: list[float], pixel_mm: tuple[float, float]) -> Affine:
    """ras_from_ijk of 90 x 110 pixels about a canonical point, in any orientation."""
    A = np.eye(4)
    R = rotation_from_rotvec(rotvec)
    A[:3, 0], A[:3, 1], A[:3, 2] = R[:, 0] * pixel_mm[0], R[:, 1] * pixel_mm[1], R[:, 2] * 8.0
    centre_ras = apply_affine(np.linalg.inv(CANONICAL_FROM_RAS), centre_mm)
    A[:3, 3] = centre_ras - A[:3, 0] * 54.5 - A[:3, 1] * 44.5
    return A


OBLIQUE = [
    oblique([0.0, 0.0, 0.0], [0, 0, 0], (1.4, 1.4)),
    oblique([1.2, 0.4, -2.0], [4, -3, 6], (1.1, 1.9)),
    oblique([-0.3, 2.9, 0.7], [0, 5, -8], (0.7, 0.7)),
    oblique([2.2, -1.0, 0.1], [10, 0, 0], (2.5, 1.3)),
]


@pytest.mark.parametrize("ras_from_ijk", OBLIQUE)
def test_labels_come_back_to_their_own_pixels(ras_from_ijk: Affine) -> None:
    """A network that labels two balls in canonical space: their sections lie where they are."""
    study = still_study(ras_from_ijk)
    answer = ask(study.slices[0], CANONICAL_FROM_RAS, blob_network(), [0, 3])
    points = apply_affine(CANONICAL_FROM_RAS, pixel_centres_ras(ras_from_ijk, (90, 110)))
    truth = np.zeros((90, 110), dtype=np.uint8)
    for label, centre, radius in (
        (Label.LV_BLOOD_POOL, BlobNetwork.LV_MM, BlobNetwork.LV_RADIUS_MM),
        (Label.RV_BLOOD_POOL, BlobNetwork.RV_MM, BlobNetwork.RV_RADIUS_MM),
    ):
        truth[np.linalg.norm(points - np.array(centre), axis=-1) < radius] = label
    assert (truth > 0).sum() > 50
    wrong = (answer.probabilities.argmax(axis=-1) != truth) & answer.known
    assert wrong.sum(axis=(1, 2)).max() <= 0.02 * (truth > 0).sum()


def test_what_lies_outside_of_every_window_is_unknown() -> None:
    far = oblique([0, 0, 0], [160, 0, 0], (2.5, 2.5))
    entries = slice_evidence(still_study(far), CANONICAL_FROM_RAS, blob_network())
    known = np.stack([e.known for e in entries])
    assert 0.05 < known.mean() < 0.6
    for entry in entries:
        assert (entry.probabilities[~entry.known] == 0).all()
        assert np.allclose(entry.probabilities[entry.known].sum(axis=-1), 1, atol=1e-3)


def test_guidance_of_a_whole_study(phantom: SimulatedStudy) -> None:
    study = phantom.study
    frame = canonical_frame_of(study).canonical_from_ras
    entries = slice_evidence(study, frame, load_slice_network(), phases_per_slice=4)
    Guidance(entries).check(study)
    per_slice = {c.name: [e.phase for e in entries if e.slice_name == c.name] for c in study.slices}
    es_fraction = phantom.truth.parameters.motion.es_fraction
    for cine in study.slices:
        phases = per_slice[cine.name]
        assert 2 <= len(phases) <= 4
        assert nearest_phase(cine, 0.0) in phases
        gaps = circular_distance(cine.cycle_fractions[phases], es_fraction)
        assert gaps.min() <= 1.5 / cine.n_phases


class Uncertain(nn.Module):
    """Says the same of every pixel: `logits` for background, LV blood, myocardium, RV blood."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, inputs: Tensor) -> Tensor:
        n, _, rows, cols = inputs.shape
        return self.logits.reshape(1, -1, 1, 1).expand(n, -1, rows, cols)


def constant_network(*logits: float) -> SliceNetwork:
    info = blob_network().info
    return SliceNetwork(info, Uncertain(*logits))  # type: ignore[arg-type]


def central(entry: SliceGuidance) -> npt.NDArray[np.float32]:
    rows, cols = entry.known.shape
    return entry.probabilities[rows // 2, cols // 2]


def test_doubt_draws_towards_uniform() -> None:
    study = still_study(OBLIQUE[0], n_phases=1)
    sure, unsure, none = (
        central(slice_evidence(study, CANONICAL_FROM_RAS, constant_network(*logits))[0])
        for logits in ((0, 9.0, 0, 0), (0, 1.5, 0, 0), (0, 0, 0, 0))
    )
    assert sure[1] > 0.9
    raw = float(torch.softmax(torch.tensor([0, 1.5, 0, 0]), 0)[1])
    assert 0.25 < unsure[1] < raw
    assert np.allclose(none, 1 / N_LABELS, atol=1e-4)


def short_axis_at(height_mm: float) -> Affine:
    """ras_from_ijk of 90 x 110 pixels across the LV axis at a canonical height."""
    canonical_from_ijk = np.diag([1.5, 1.5, 8.0, 1.0])
    canonical_from_ijk[:3, 3] = [-1.5 * 54.5, -1.5 * 44.5, height_mm]
    return np.asarray(np.linalg.inv(CANONICAL_FROM_RAS) @ canonical_from_ijk, dtype=np.float64)


def test_ventricles_near_the_base_are_believed_less_in_short_axis_planes() -> None:
    settings = EvidenceSettings()
    heights = (-30.0, settings.base_start_mm, 35.0, settings.base_end_mm, 70.0)
    confidences = []
    for height in heights:
        study = still_study(short_axis_at(height), n_phases=1)
        answer = ask(study.slices[0], CANONICAL_FROM_RAS, constant_network(0, 9.0, 0, 0), [0])
        confidences.append(float(answer.confidence[0, 45, 55]))
    assert confidences[0] == pytest.approx(confidences[1], abs=0.02)
    assert confidences[1] > confidences[2] + 0.1 > confidences[3] + 0.2
    assert confidences[3] == pytest.approx(confidences[4], abs=0.02)


def test_background_near_the_base_is_doubted_in_the_heart_only() -> None:
    settings = EvidenceSettings()
    confidences = {}
    for height in (-20.0, settings.base_end_mm, 90.0):
        study = still_study(short_axis_at(height), n_phases=1)
        answer = ask(study.slices[0], CANONICAL_FROM_RAS, constant_network(9.0, 0, 0, 0), [0])
        confidences[height] = (answer.confidence[0, 45, 55], answer.confidence[0, 2, 55])
    heart, lung = confidences[settings.base_end_mm]
    assert heart == pytest.approx(settings.atrial_confidence * lung, rel=0.05)
    assert min(*confidences[-20.0], lung, *confidences[90.0]) > 0.9


def test_long_axis_planes_show_the_valves_themselves(phantom: SimulatedStudy) -> None:
    frame = canonical_frame_of(phantom.study).canonical_from_ras
    for cine in phantom.study.slices:
        factors = base_factors(cine, frame, EvidenceSettings())
        assert (cine.view is View.SA) or min(f.min() for f in factors) == 1.0


@pytest.mark.parametrize(
    "change",
    [{"n_views": 0}, {"n_views": 9}, {"most_confident": 1.5}, {"base_end_mm": -5.0}],
)
def test_settings_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(EvidenceSettings(), **change)


def test_no_phase_is_an_error_and_cancel_stops() -> None:
    study, network = still_study(OBLIQUE[0]), blob_network()
    with pytest.raises(ConfigError, match="phases_per_slice"):
        slice_evidence(study, CANONICAL_FROM_RAS, network, phases_per_slice=0)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        slice_evidence(study, CANONICAL_FROM_RAS, network, cancel=cancel)


# ---------------------------------------------------------------- the bundled network


def labels_of(cine: CineSlice) -> npt.NDArray[np.uint8]:
    assert cine.labels is not None
    return cine.labels.values


def dice_at_ed(study: CineStudy, network: SliceNetwork, frame: Affine) -> dict[Label, float]:
    both, either = dict.fromkeys(FOREGROUND, 0), dict.fromkeys(FOREGROUND, 0)
    for cine in study.slices:
        found = ask(cine, frame, network, [0]).probabilities[0].argmax(axis=-1)
        truth = labels_of(cine)[0]
        for label in FOREGROUND:
            both[label] += int(((found == label) & (truth == label)).sum())
            either[label] += int((found == label).sum() + (truth == label).sum())
    return {label: 2 * both[label] / max(either[label], 1) for label in FOREGROUND}


@pytest.mark.parametrize("views", [(View.SA,), (View.LA_2CH, View.LA_3CH, View.LA_4CH)])
def test_it_labels_an_unseen_phantom(phantom: SimulatedStudy, views: tuple[View, ...]) -> None:
    """Measured: above .95 / .85 / .85; whatever breaks it loses far more than the margin."""
    frame = canonical_frame_of(phantom.study).canonical_from_ras
    dice = dice_at_ed(phantom.study.restricted_to(views), load_slice_network(), frame)
    assert dice[Label.LV_BLOOD_POOL] > 0.88
    assert dice[Label.LV_MYOCARDIUM] > 0.72
    assert dice[Label.RV_BLOOD_POOL] > 0.72


def test_its_confidence_tells_right_from_wrong(phantom: SimulatedStudy) -> None:
    """The surest third of the heart's pixels is right far more often than the least sure third."""
    frame = canonical_frame_of(phantom.study).canonical_from_ras
    network, confidence, is_right = load_slice_network(), [], []
    for cine in phantom.study.slices[::2]:
        answer = ask(cine, frame, network, [0, 4])
        found, truth = answer.probabilities.argmax(axis=-1), labels_of(cine)[[0, 4]]
        heart = ((found > 0) | (truth > 0)) & answer.known
        confidence.append(answer.confidence[heart])
        is_right.append((found == truth)[heart])
    c, right = np.concatenate(confidence), np.concatenate(is_right)
    low, high = np.quantile(c, [1 / 3, 2 / 3])
    assert right[c > high].mean() > right[c < low].mean() + 0.15
    assert right[c > high].mean() > 0.9


def test_the_smallest_cavity_is_found(phantom: SimulatedStudy) -> None:
    frame = canonical_frame_of(phantom.study).canonical_from_ras
    network = load_slice_network()
    es_fraction = phantom.truth.parameters.motion.es_fraction
    long_axis = phantom.study.restricted_to((View.LA_2CH, View.LA_3CH, View.LA_4CH))
    for study in (phantom.study, long_axis):
        found = smallest_cavity_fraction(study, frame, network)
        assert found is not None
        assert circular_distance(found, es_fraction) < 0.11
