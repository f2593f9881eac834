"""Pixels of DICOM frames as float32 intensities, decoded one file at a time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from NISFCore.data.dicom_files import DAMAGED_FILE_ERRORS, FileSource, quiet_pydicom
from NISFCore.data.dicom_frames import FrameRecord
from NISFCore.errors import StudyError

Image = npt.NDArray[np.float32]


class PixelReader:
    """Reads frames of one source; remembers the last file, which may hold many frames."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._file: str | None = None
        self._images: Image = np.zeros((0, 0, 0), dtype=np.float32)

    def read(self, record: FrameRecord) -> Image | None:
        """The image `(rows, cols)`, or None if the file is damaged or has no pixels.

        Raises:
            StudyError: if its compression needs software that is not installed.
        """
        if record.file != self._file:
            self._images = self._decoded(record)
            self._file = record.file
        k = record.frame or 0
        image = self._images[k] if k < len(self._images) else None
        return image if image is not None and image.shape == record.shape else None

    def _decoded(self, record: FrameRecord) -> Image:
        try:
            with self._source.open(record.file) as file, quiet_pydicom():
                dataset = pydicom.dcmread(file, force=True)
                _check_decoder(_transfer_syntax(dataset))
                return _intensities(dataset)
        except DAMAGED_FILE_ERRORS:
            return np.zeros((0, 0, 0), dtype=np.float32)


def _transfer_syntax(dataset: pydicom.Dataset) -> UID:
    """The file's transfer syntax; one without a file header is recognised by its encoding."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, _ = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset.file_meta.TransferSyntaxUID


def _check_decoder(syntax: UID) -> None:
    """Tell a user with compressed images which extra to install."""
    if not syntax.is_compressed or syntax.is_deflated:
        return
    try:
        decoder = pydicom.pixels.get_decoder(syntax)
    except NotImplementedError:
        raise StudyError(f"pydicom knows no decoder for {syntax.name}") from None
    if not decoder.is_available:
        raise StudyError(
            f"compressed as {syntax.name}, and no decoder for it is installed; "
            "install the extra with: pip install 'NISFCore[compressed]'"
        )


def _intensities(dataset: pydicom.Dataset) -> Image:
    """All frames `(n, rows, cols)` after rescale, with bright meaning much signal."""
    pixels = dataset.pixel_array
    if pixels.ndim == 2:
        pixels = pixels[None]
    images = pixels.astype(np.float32)
    slopes, intercepts = _rescale(dataset, len(images))
    images = images * slopes[:, None, None] + intercepts[:, None, None]
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        images = images.max() - images
    return images.astype(np.float32)


def _rescale(dataset: pydicom.Dataset, n_frames: int) -> tuple[Image, Image]:
    """Slope and intercept of every frame, `(n_frames,)` each; 1 and 0 where absent."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    groups = [[g, *shared] for g in per_frame] or [[] for _ in range(n_frames)]
    pairs = [_rescale_of_frame([*group, dataset]) for group in groups]
    values = np.array(pairs, dtype=np.float32).reshape(n_frames, 2)
    return values[:, 0], values[:, 1]


def _rescale_of_frame(items: Sequence[pydicom.Dataset]) -> tuple[float, float]:
    for item in items:
        sequence = item.get("PixelValueTransformationSequence")
        source = sequence[0] if sequence else item
        slope = source.get("RescaleSlope")
        if slope is not None and np.isfinite(float(slope)) and float(slope) != 0:
            return float(slope), float(source.get("RescaleIntercept") or 0)
    return 1.0, 0.0
