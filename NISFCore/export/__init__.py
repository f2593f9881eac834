"""Writers of everything that comes out of a fit, and the report. LPS exists only here."""
