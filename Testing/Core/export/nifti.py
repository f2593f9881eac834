"""Reading NIfTI files back with nibabel, with the type that they have."""

from pathlib import Path

import nibabel


def load_nifti(path: Path) -> nibabel.Nifti1Image:
    """The image; fails for any other kind of file."""
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return image
