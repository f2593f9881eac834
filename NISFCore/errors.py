"""Errors that a user can act on. Each message says what was got, what is allowed, what to do."""


class NISFError(Exception):
    """Base of every error that is shown to a user as one clear message, without a traceback."""


class StudyError(NISFError):
    """The input study is unreadable, incomplete or contradictory."""


class AmbiguousInputError(StudyError):
    """The input can be understood in more than one way; the message is a question to the user."""


class NoSeriesError(StudyError):
    """An input has no series of the kind that is asked for."""


class CohortError(NISFError):
    """A training cohort is missing, empty or unusable."""


class PriorError(NISFError):
    """A prior file is missing, corrupt, of another version or of another configuration."""


class ResultError(NISFError):
    """A result folder is missing, incomplete or of another version."""


class ConfigError(NISFError):
    """A setting has an unknown name or a value that is not allowed."""


class OutputError(NISFError):
    """The output location cannot be written."""


class Cancelled(NISFError):  # noqa: N818 - not a failure: the user asked for it
    """The work was cancelled by the user."""
