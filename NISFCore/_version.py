"""The one place where the version of NISF is written."""

__version__ = "0.1.0"
