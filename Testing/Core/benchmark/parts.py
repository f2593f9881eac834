"""Finished parts with known numbers, as the experiments return them."""

from typing import Any

from NISFCore.benchmark.figures import Parts
from NISFCore.benchmark.tables import LABELS, VOLUMES


def accuracy_part(dice: float = 0.9, error_ml: float = 3.0) -> dict[str, Any]:
    row = {"slice": "SA_01", "group": "SA basal", "psnr_db": 24.0, "ssim": 0.8}
    phase = {label: {"mean_mm": 0.5, "hd95_mm": 1.5} for label in LABELS}
    return {
        "slices": [row | {f"dice_{label}": dice for label in LABELS}],
        "noise": {
            f"{what}_{where}_db": value
            for where in ("heart", "region")
            for what, value in (("psnr", 26.0), ("ceiling", 30.0), ("gap", 4.0))
        },
        "dense": {
            "dice": dict.fromkeys(LABELS, dice),
            "dice_anchored": dict.fromkeys(LABELS, dice - 0.1),
        },
        "volumes": {name: {"estimate": 100.0 + error_ml, "truth": 100.0} for name in VOLUMES},
        "z": {"rotation": [0.0, 3.0], "translation": [0.5, 0.5], "volume": [1.5, -1.5]},
        "surfaces": {"ED": phase, "ES": phase},
        "seconds": {"fit": 2.0},
    }


def alignment_part(before_mm: float, after_mm: float) -> dict[str, Any]:
    def side(mm: float) -> dict[str, Any]:
        return {"distance_mm": [mm, mm + 1], "angle_deg": [mm / 2], "ncc": 0.9, "dice": 0.8}

    return {"before": side(before_mm), "after": side(after_mm)}


def speed_part(paper: float | None, tuned: float | None, ours: float | None) -> dict[str, Any]:
    seconds = {"paper": paper, "tuned Adam": tuned, "ours": ours}
    points = [{"step": 1, "seconds": 0.1, "dice": 0.5, "psnr_db": 15.0}] * 2
    return {
        "target_dice": 0.9,
        "seconds_to_target": seconds,
        "target_psnr_db": 24.0,
        "seconds_to_psnr": {"paper": 300.0, "tuned Adam": 9.0, "ours": None},
        "seconds_total": dict.fromkeys(seconds, 9.0),
        "final_dice": dict.fromkeys(seconds, 0.91),
        "final_psnr_db": dict.fromkeys(seconds, 25.0),
        "curves": dict.fromkeys(seconds, points),
        "check": [{"step": 5, "dice_full": 0.8, "dice_followed": 0.79}],
    }


def heart_part(dice: float) -> dict[str, Any]:
    part = accuracy_part(dice)
    return part["dense"] | {"volumes": part["volumes"]}


def all_parts() -> Parts:
    held = {"slice": "SA_01", "view": "SA", "ncc": 0.7} | dict.fromkeys(LABELS, 0.85)
    psf = {
        "psnr_db": 25.0,
        "distance_mm": 1.0,
        "angle_deg": 1.0,
        "seconds": 3.0,
        "banding": 0.02,
        "chance": 0.01,
    }
    return Parts(
        accuracy=[accuracy_part(0.9, 3.0), accuracy_part(0.8, -1.0)],
        alignment={
            0.0: [alignment_part(0.0, 0.4)],
            4.0: [alignment_part(4.0, 1.0), alignment_part(4.0, 2.0)],
            8.0: [alignment_part(8.0, 1.5)],
        },
        classical=[
            {
                "registration": alignment_part(4.0, 2.0)["after"] | {"seconds": 5.0},
                "hearts": {"linear": heart_part(0.7), "shape-based": heart_part(0.75)},
            }
        ],
        held_out=[{"SA only": {"slices": [held]}}],
        psf=[{"none": psf}],
        speed=[speed_part(400.0, 10.0, 2.0), speed_part(100.0, 40.0, 2.0)],
        process={"seconds": [9.0, 5.0, 6.0]},
        export={"speedup": 12.0},
    )
