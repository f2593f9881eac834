"""Odd DICOM studies: content, geometry and timing. Importing this module registers them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from Testing.Core.generators.blob_heart import Plane, blob_heart, la_plane, la_planes, sa_planes
from Testing.Core.generators.dicom_writer import (
    PATIENT_ID,
    ROOT,
    DicomFile,
    changed,
    classic_files,
    classic_series,
    enhanced_file,
    enhanced_stack,
    write_files,
    zip_folder,
)
from Testing.Core.generators.odd_studies import (
    HEART,
    OddStudy,
    odd_study,
    rotated_in_plane,
    seen_from_behind,
    usual,
)

MOVED_HEART = blob_heart(centre_lps=HEART.centre + np.array([0.0, 3.0, 5.0]))


def _files(planes: list[Plane]) -> list[DicomFile]:
    return classic_files(planes, HEART)


def _of_series(files: list[DicomFile], series: int) -> list[DicomFile]:
    return [f for f in files if f.dataset.SeriesNumber == series]


# ---------------------------------------------------------------- where the files lie


@odd_study
def usual_study(folder: Path) -> OddStudy:
    return OddStudy(write_files(_files(usual()), folder), usual())


@odd_study
def nested_folders_with_odd_names(folder: Path) -> OddStudy:
    files = _files(usual())
    for k, file in enumerate(files):
        file.name = f"Ordner {k % 7}/größer als/心臓 {k % 3}/IM{(k * 37) % len(files):05d}"
    return OddStudy(write_files(files, folder), usual())


@odd_study
def all_files_in_one_folder(folder: Path) -> OddStudy:
    files = _files(usual())
    for k, file in enumerate(files):
        file.name = f"{(k * 37) % len(files):05d}"
    return OddStudy(write_files(files, folder), usual())


@odd_study
def zip_file(folder: Path) -> OddStudy:
    write_files(_files(usual()), folder / "x")
    return OddStudy(zip_folder(folder / "x", folder / "study.zip", "a b/c/"), usual())


@odd_study
def zip_with_paths_that_escape(folder: Path) -> OddStudy:
    write_files(_files(usual()), folder / "x")
    return OddStudy(zip_folder(folder / "x", folder / "study.zip", "../../../"), usual())


@odd_study
def zip_inside_a_folder(folder: Path) -> OddStudy:
    write_files(_files(usual()), folder / "x")
    (folder / "study").mkdir()
    zip_folder(folder / "x", folder / "study" / "dicom.zip")
    return OddStudy(folder / "study", usual())


# ---------------------------------------------------------------- subjects and spaces


@odd_study
def two_subjects(folder: Path) -> OddStudy:
    write_files(_files(usual()), folder / "one")
    others = changed(_files(usual()), PatientID="OTHER-1", PatientName="Anders^Otto")
    write_files(_with_new_uids(others), folder / "two")
    return OddStudy(folder, error=r"2 subjects.*Select by number or folder")


@odd_study
def two_subjects_one_selected(folder: Path) -> OddStudy:
    case = two_subjects(folder)
    return replace(case, error=None, planes=usual(), select="two")


@odd_study
def two_frames_of_reference(folder: Path) -> OddStudy:
    files = _files(usual())
    for file in files[24:]:
        file.dataset.FrameOfReferenceUID = f"{ROOT}.5"
    return OddStudy(write_files(files, folder), error=r"2 frames of reference")


@odd_study
def localiser_in_another_frame_of_reference(folder: Path) -> OddStudy:
    """Taken before the table was moved; its name does not say what it is."""
    localiser = classic_series(replace(usual()[0], series=90, n_phases=1, description="loc"), HEART)
    changed(localiser, FrameOfReferenceUID=f"{ROOT}.5")
    return OddStudy(write_files([*_files(usual()), *localiser], folder), usual())


@odd_study
def frame_of_reference_missing_in_some(folder: Path) -> OddStudy:
    files = _files(usual())
    changed(files[24:32], FrameOfReferenceUID=None)
    return OddStudy(write_files(files, folder), usual())


@odd_study
def selection_that_matches_nothing(folder: Path) -> OddStudy:
    path = write_files(_files(usual()), folder)
    return OddStudy(path, error=r"selection '9' matches nothing", select="9")


def _with_new_uids(files: list[DicomFile]) -> list[DicomFile]:
    for file in files:
        _become_another(file)
        file.dataset.SeriesInstanceUID = f"{file.dataset.SeriesInstanceUID}.77"
    return files


def _become_another(file: DicomFile) -> None:
    """An image with a UID of its own."""
    ds = file.dataset
    ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.77"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID


# ---------------------------------------------------------------- which planes there are


@odd_study
def only_short_axis(folder: Path) -> OddStudy:
    planes = sa_planes(HEART)
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def only_long_axis(folder: Path) -> OddStudy:
    planes = la_planes(HEART)
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def one_slice(folder: Path) -> OddStudy:
    planes = sa_planes(HEART, n=1)
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def one_phase(folder: Path) -> OddStudy:
    planes = [replace(p, n_phases=1) for p in usual()]
    return OddStudy(write_files(_files(planes), folder), error=r"no cine series was found")


@odd_study
def reversed_stack(folder: Path) -> OddStudy:
    """Scanned from apex to base, some slices seen from behind."""
    planes = [replace(p, series=50 - p.series) if p.truth == "SA" else p for p in usual()]
    planes = [seen_from_behind(p) if k in (1, 3) else p for k, p in enumerate(planes)]
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def images_rotated_by_90_degrees(folder: Path) -> OddStudy:
    planes = [rotated_in_plane(p) if k % 2 else p for k, p in enumerate(usual())]
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def anisotropic_pixels(folder: Path) -> OddStudy:
    planes = [replace(p, spacing_mm=(3.0, 5.0), shape=(56, 40)) for p in usual()]
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def stack_in_one_series(folder: Path) -> OddStudy:
    files = _files(usual())
    for k, file in enumerate(f for f in files if f.dataset.SeriesNumber < 100):
        file.dataset.SeriesInstanceUID = f"{ROOT}.2.1"
        file.dataset.SeriesNumber = 1
        file.dataset.InstanceNumber = (k * 17) % 40 + 1
    planes = [replace(p, series=1) if p.truth == "SA" else p for p in usual()]
    return OddStudy(write_files(files, folder), planes)


@odd_study
def one_series_for_every_phase(folder: Path) -> OddStudy:
    files = _files(usual())
    for file in files:
        phase = file.dataset.InstanceNumber
        file.dataset.SeriesInstanceUID = f"{ROOT}.2.{500 + phase}"
        file.dataset.SeriesNumber = 500 + phase
    planes = [replace(p, series=501) for p in usual()]
    return OddStudy(write_files(files, folder), planes, says=[r"spread over several series"])


@odd_study
def misleading_series_names(folder: Path) -> OddStudy:
    """Every series is called 4CH."""
    planes = [replace(p, description="cine 4CH") for p in usual()]
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def axial_stack_beside_the_heart(folder: Path) -> OddStudy:
    axial = [
        Plane(
            "OTHER",
            200 + k,
            "cine",
            np.array([1.0, 0, 0]),
            np.array([0, 1.0, 0]),
            HEART.centre + np.array([0, 0, 10.0 * k - 35]),
        )
        for k in range(8)
    ]
    path = write_files(_files([*axial, *usual()]), folder)
    return OddStudy(path, usual(), says=[r"tilted|short-axis"])


@odd_study
def right_ventricular_long_axis(folder: Path) -> OddStudy:
    """Parallel to the 2CH plane, through the RV, and also called 2CH."""
    two_chamber = la_plane(HEART, "LA_2CH", 300, "cine 2CH")
    rv = replace(two_chamber, centre_lps=HEART.to_lps(np.array([40.0, 0, 0])), truth="OTHER")
    path = write_files(_files([*usual(), rv]), folder)
    return OddStudy(path, usual(), says=[r"passes \d+ mm from"])


# ---------------------------------------------------------------- repeats and duplicates


@odd_study
def files_copied_twice(folder: Path) -> OddStudy:
    write_files(_files(usual()), folder / "a")
    write_files(_files(usual()), folder / "b")
    return OddStudy(folder, usual(), says=[r"64 exact duplicate"])


@odd_study
def all_images_with_one_uid(folder: Path) -> OddStudy:
    """As a careless anonymisation leaves them."""
    files = _files(usual())
    for file in files:
        file.dataset.SOPInstanceUID = file.dataset.file_meta.MediaStorageSOPInstanceUID = UID(ROOT)
    return OddStudy(write_files(files, folder), usual())


@odd_study
def series_exported_twice_with_new_uids(folder: Path) -> OddStudy:
    write_files(_files(usual()), folder / "a")
    copies = _with_new_uids(classic_series(usual()[2], HEART))
    write_files(changed(copies, SeriesNumber=900), folder / "b")
    return OddStudy(folder, usual(), says=[r"exact copy"])


@odd_study
def plane_scanned_again(folder: Path) -> OddStudy:
    """The patient had breathed differently; the later acquisition is the one to keep."""
    again = replace(usual()[1], series=40)
    planes = [again if k == 1 else p for k, p in enumerate(usual())]
    write_files([*_files(usual()), *classic_series(again, MOVED_HEART)], folder)
    says = [r"scanned 2 times.*series 40.*left out: series 2"]
    return OddStudy(folder, planes, says=says, other_hearts={40: MOVED_HEART})


@odd_study
def repeat_that_was_aborted(folder: Path) -> OddStudy:
    """The later acquisition of one plane has too few phases for a cine, of another one too few
    to be preferred."""
    planes = [replace(p, n_phases=12) for p in usual()]
    again = [replace(planes[1], series=40), replace(planes[2], series=41)]
    files = [
        *_files(planes),
        *classic_series(again[0], MOVED_HEART)[:3],
        *classic_series(again[1], MOVED_HEART)[:5],
    ]
    says = [r"series 40 left out", r"scanned 2 times.*series 3; left out: series 41"]
    return OddStudy(write_files(files, folder), planes, says=says)


def _emptied(files: list[DicomFile]) -> list[DicomFile]:
    for file in files:
        file.dataset.PixelData = bytes(len(file.dataset.PixelData))
    return files


@odd_study
def repeat_that_is_empty(folder: Path) -> OddStudy:
    """Zeros where images should be, as a failed reconstruction leaves; the one before counts."""
    again = _emptied(classic_series(replace(usual()[1], series=40), HEART))
    path = write_files([*_files(usual()), *again], folder)
    return OddStudy(path, usual(), says=[r"series 40 left out: its images are empty"])


@odd_study
def series_that_is_empty(folder: Path) -> OddStudy:
    files = _files(usual())
    _emptied(_of_series(files, 3))
    planes = [p for p in usual() if p.series != 3]
    says = [r"series 3 left out: its images are empty"]
    return OddStudy(write_files(files, folder), planes, says=says)


def _in_the_same_series(files: list[DicomFile], first_instance: int) -> list[DicomFile]:
    """The files as a later part of their series."""
    for k, file in enumerate(files):
        _become_another(file)
        file.dataset.InstanceNumber = first_instance + k
        file.name = f"again/{file.name}"
    return files


@odd_study
def plane_scanned_again_in_the_same_series(folder: Path) -> OddStudy:
    """At another heart rate, so that no trigger time but the first is there twice."""
    planes = [replace(p, n_phases=12) for p in usual()]
    again = replace(planes[1], rr_interval_ms=870.0)
    repeat = _in_the_same_series(classic_series(again, MOVED_HEART), 13)
    path = write_files([*_files(planes), *repeat], folder)
    planes[1] = again
    return OddStudy(path, planes, says=[r"scanned 2 times"], other_hearts={2: MOVED_HEART})


@odd_study
def aborted_repeat_in_the_same_series(folder: Path) -> OddStudy:
    planes = [replace(p, n_phases=12) for p in usual()]
    repeat = _in_the_same_series(classic_series(planes[1], MOVED_HEART)[:5], 13)
    path = write_files([*_files(planes), *repeat], folder)
    return OddStudy(path, planes, says=[r"scanned 2 times"])


@odd_study
def some_images_sent_twice_with_new_uids(folder: Path) -> OddStudy:
    planes = [replace(p, n_phases=12) for p in usual()]
    copies = _in_the_same_series(classic_series(planes[1], HEART)[3:6], 4)
    path = write_files([*_files(planes), *copies], folder)
    return OddStudy(path, planes, says=[r"series 2 left out: 3 image\(s\)"])


@odd_study
def a_clock_of_100_ms(folder: Path) -> OddStudy:
    """Several successive phases have one trigger time: they are spread evenly."""
    planes = [replace(p, n_phases=20) for p in usual()]
    files = _files(planes)
    for file in files:
        file.dataset.TriggerTime = 100.0 * (float(file.dataset.TriggerTime) // 100)
    return OddStudy(write_files(files, folder), planes, says=[r"no usable TriggerTime"])


# ---------------------------------------------------------------- timing


@odd_study
def unequal_phases(folder: Path) -> OddStudy:
    planes = [replace(p, n_phases=6 + 2 * (k % 4)) for k, p in enumerate(usual())]
    return OddStudy(write_files(_files(planes), folder), planes)


@odd_study
def missing_trigger_time(folder: Path) -> OddStudy:
    files = changed(_files(usual()), TriggerTime=None)
    return OddStudy(write_files(files, folder), usual(), says=[r"no usable TriggerTime"])


@odd_study
def missing_trigger_time_but_acquisition_time(folder: Path) -> OddStudy:
    files = _files(usual())
    for file in files:
        file.dataset.AcquisitionTime = f"1000{float(file.dataset.TriggerTime) / 1000:09.6f}"
    changed(files, TriggerTime=None, InstanceNumber=None)
    return OddStudy(write_files(files, folder), usual(), says=[r"from AcquisitionTime"])


@odd_study
def missing_rr_interval(folder: Path) -> OddStudy:
    files = changed(_files(usual()), NominalInterval=None)
    return OddStudy(write_files(files, folder), usual(), says=[r"phases fill the cycle evenly"])


@odd_study
def rr_interval_from_heart_rate(folder: Path) -> OddStudy:
    planes = [replace(p, rr_interval_ms=800.0) for p in usual()]
    files = changed(_files(planes), NominalInterval=0, HeartRate=75)
    return OddStudy(write_files(files, folder), planes, says=[r"from HeartRate"])


@odd_study
def numbers_that_are_none(folder: Path) -> OddStudy:
    """What is no number in an attribute that can be missing is as good as missing."""
    files = _files(usual())
    for file in files:
        file.dataset.add_new("HeartRate", "IS", ["60", "70"])
        file.dataset.add_new("AcquisitionNumber", "IS", ["1", "2"])
    return OddStudy(write_files(files, folder), usual())


@odd_study
def instance_numbers_against_time(folder: Path) -> OddStudy:
    files = _files(usual())
    for file in files:
        file.dataset.InstanceNumber = 100 - file.dataset.InstanceNumber
    return OddStudy(write_files(files, folder), usual())


# ---------------------------------------------------------------- images that are no cine


@odd_study
def other_modalities_and_objects(folder: Path) -> OddStudy:
    ct = changed(classic_series(replace(usual()[0], series=70), HEART)[:2], Modality="CT")
    report = changed(classic_series(replace(usual()[0], series=71), HEART)[:1], Modality="SR")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report[0].dataset, name)
    write_files([*_files(usual()), *ct, *report], folder)
    (folder / "readme.txt").write_text("not an image", encoding="utf-8")
    says = [r"2 object\(s\) of kind CT", r"1 object\(s\) of kind SR", r"1 file\(s\).*not DICOM"]
    return OddStudy(folder, usual(), says=says)


@odd_study
def localiser_velocity_and_late_enhancement(folder: Path) -> OddStudy:
    first = usual()[0]
    localiser = changed(
        classic_series(replace(first, series=80, description="localizer"), HEART)[:1]
    )
    velocity = changed(
        classic_series(replace(first, series=81, description="flow"), HEART),
        ImageType=["ORIGINAL", "PRIMARY", "P", "RETRO"],
    )
    late = classic_series(replace(first, series=82, description="PSIR_LGE sax"), HEART)[:1]
    path = write_files([*_files(usual()), *localiser, *velocity, *late], folder)
    says = [r"series 80.*localiser", r"series 81.*velocity", r"series 82.*late enhancement"]
    return OddStudy(path, usual(), says=says)


@odd_study
def protocol_named_after_the_examination(folder: Path) -> OddStudy:
    """One scanner's ProtocolName is that of all series."""
    files = changed(_files(usual()), ProtocolName="Function, perfusion and LGE")
    return OddStudy(write_files(files, folder), usual())


@odd_study
def perfusion_series(folder: Path) -> OddStudy:
    """Many beats at one trigger time."""
    dynamic = classic_series(replace(usual()[0], series=85, description="dynamic"), HEART)
    for k, file in enumerate(dynamic):
        file.dataset.TriggerTime = 120.0
        file.dataset.AcquisitionTime = f"1030{k:02d}.000000"
        file.dataset.ImagePositionPatient = [30.0 + 20, -10.0, 35.0]
    path = write_files([*_files(usual()), *dynamic], folder)
    return OddStudy(path, usual(), says=[r"series 85 left out: all 8 images.*one trigger time"])


def _dynamic_in_a_cine_plane(
    folder: Path, trigger_times_ms: list[float | None], says: str
) -> OddStudy:
    """Usual files, and later images of one plane of the stack, one heart beat each."""
    n = len(trigger_times_ms)
    dynamic = classic_series(
        replace(usual()[1], series=85, description="dynamic", n_phases=n), MOVED_HEART
    )
    for k, (file, time) in enumerate(zip(dynamic, trigger_times_ms, strict=True)):
        changed([file], TriggerTime=time, AcquisitionTime=f"1030{k:02d}.000000")
    path = write_files([*_files(usual()), *dynamic], folder)
    return OddStudy(path, usual(), says=[says])


@odd_study
def perfusion_in_a_cine_plane(folder: Path) -> OddStudy:
    """It has more images than the cine, and is the later one; the cine is what to keep."""
    says = r"series 85 left out: all 40 images were taken at one trigger time"
    return _dynamic_in_a_cine_plane(folder, [120.0] * 40, says)


@odd_study
def perfusion_whose_trigger_times_count_on(folder: Path) -> OddStudy:
    times: list[float | None] = [120.0 + 800.0 * k for k in range(40)]
    says = r"series 85 left out: its 40 images were taken 800 ms apart, at an RR interval of 820"
    return _dynamic_in_a_cine_plane(folder, times, says)


@odd_study
def perfusion_without_trigger_times(folder: Path) -> OddStudy:
    says = r"scanned 2 times.*kept \(series 2; left out: series 85\)"
    return _dynamic_in_a_cine_plane(folder, [None] * 40, says)


@odd_study
def inversion_times_in_a_cine_plane(folder: Path) -> OddStudy:
    """A cine with an inversion before, which shows the contrast of many inversion times."""
    files = _files(usual())
    sweep = classic_series(replace(usual()[1], series=85, description="TI"), MOVED_HEART)
    for k, file in enumerate(sweep):
        file.dataset.InversionTime = 100.0 + 30.0 * k
    path = write_files([*changed(files, InversionTime=0), *sweep], folder)
    return OddStudy(path, usual(), says=[r"series 85: 8 image\(s\) left out, inversion recovery"])


@odd_study
def trigger_times_in_seconds(folder: Path) -> OddStudy:
    """As phase times they would put all phases at the R wave."""
    files = _files(usual())
    for file in files:
        file.dataset.TriggerTime = float(file.dataset.TriggerTime) / 1000
    return OddStudy(write_files(files, folder), usual(), says=[r"no usable TriggerTime"])


@odd_study
def colour_screenshots(folder: Path) -> OddStudy:
    colour = classic_series(replace(usual()[0], series=86), HEART)
    for file in colour:
        file.dataset.SamplesPerPixel, file.dataset.PhotometricInterpretation = 3, "RGB"
    path = write_files([*_files(usual()), *colour], folder)
    return OddStudy(path, usual(), says=[r"series 86.*colour"])


# ---------------------------------------------------------------- enhanced multi-frame


@odd_study
def enhanced_multi_frame(folder: Path) -> OddStudy:
    order = [3, 1, 0, 2, 7, 5, 6, 4]
    files = [enhanced_file(p, HEART, order) for p in usual()]
    return OddStudy(write_files(files, folder), usual())


@odd_study
def enhanced_beside_classic(folder: Path) -> OddStudy:
    planes = usual()
    files = [*classic_files(planes[:5], HEART), *(enhanced_file(p, HEART) for p in planes[5:])]
    return OddStudy(write_files(files, folder), planes)


@odd_study
def enhanced_stack_in_one_file(folder: Path) -> OddStudy:
    planes = sa_planes(HEART)
    others = la_planes(HEART)
    files = [enhanced_stack(planes, HEART), *classic_files(others, HEART)]
    expected = [*(replace(p, series=planes[0].series) for p in planes), *others]
    return OddStudy(write_files(files, folder), expected)


@odd_study
def enhanced_with_trigger_times_in_a_private_sequence(folder: Path) -> OddStudy:
    """As one vendor writes it: the classic attributes of every frame under (2005,140F)."""
    files = [enhanced_file(p, HEART, [3, 1, 0, 2, 7, 5, 6, 4]) for p in usual()]
    for file in files:
        for group in file.dataset.PerFrameFunctionalGroupsSequence:
            cardiac = group.CardiacSynchronizationSequence[0]
            private = Dataset()
            private.TriggerTime = cardiac.NominalCardiacTriggerDelayTime
            private.NominalInterval = round(cardiac.RRIntervalTimeNominal)
            del group.CardiacSynchronizationSequence
            group.add_new((0x2005, 0x0014), "LO", "Philips MR Imaging DD 005")
            group.add_new((0x2005, 0x140F), "SQ", [private])
    return OddStudy(write_files(files, folder), usual())


@odd_study
def multi_frame_without_positions(folder: Path) -> OddStudy:
    files = [enhanced_file(p, HEART) for p in usual()]
    changed(files, PerFrameFunctionalGroupsSequence=None)
    return OddStudy(write_files(files, folder), error=r"does not say where")


# ---------------------------------------------------------------- identity in unusual places


@odd_study
def patient_named_by_the_folders(folder: Path) -> OddStudy:
    write_files(_files(usual()), folder / f"{PATIENT_ID} Mustermann")
    others = changed(_files(usual()), PatientID="OTHER-1", PatientName="Anders^Otto")
    write_files(_with_new_uids(others), folder / "OTHER-1")
    return OddStudy(folder, error=r"in '\*\*\*/Se1'")


@odd_study
def missing_tags_of_all_kinds(folder: Path) -> OddStudy:
    """Little more than geometry and pixels."""
    files = _files(usual())
    for file in files:
        ds: Dataset = file.dataset
        for name in ("SeriesDescription", "AcquisitionTime", "SliceThickness", "ImageType",
                     "PatientName", "PatientID", "AcquisitionNumber", "FrameOfReferenceUID",
                     "StudyDate", "SeriesDate", "AcquisitionDate"):  # fmt: skip
            delattr(ds, name)
    return OddStudy(write_files(files, folder), usual(), says=[r"SliceThickness is missing: 8 mm"])
