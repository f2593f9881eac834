"""Tagged slices of a study: several series may show one plane, with lines across each other."""


def series_name(plane: str, index: int, n_series: int) -> str:
    """Name of one of the series of a plane: "SA_01", or "SA_01_tags_2" where there are several."""
    return plane if n_series == 1 else f"{plane}_tags_{index + 1}"
