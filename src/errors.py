"""The errors of the project: one base, leaves that are also the builtin a caller would catch."""

from upramp.kernels._layout import DTypeError, ParameterError, ShapeError, UprampError

__all__ = [
    "ConfigError",
    "CrdsUnavailableError",
    "DTypeError",
    "FileFormatError",
    "HookError",
    "InvalidMetadataError",
    "MissingKeywordError",
    "MissingPackageError",
    "OutputError",
    "ParameterError",
    "ReferenceFileError",
    "ReferenceNotFoundError",
    "SchemaError",
    "ShapeError",
    "StateError",
    "StepExit",
    "UnsupportedModeError",
    "UprampError",
]


class FileFormatError(UprampError, ValueError):
    """A file is not what it should be: not FITS, truncated, without the HDU that is needed."""


class InvalidMetadataError(UprampError, ValueError):
    """A model cannot be saved: values of its metadata are not what its schema permits."""


class SchemaError(UprampError, ValueError):
    """A schema file does not describe a data model."""


class MissingKeywordError(UprampError, ValueError):
    """Metadata that a step needs is absent; the message names the keywords."""


class MissingPackageError(UprampError, ImportError):
    """An optional package that a step needs is not installed; the message says how to get it."""


class ReferenceFileError(UprampError, ValueError):
    """A reference file is missing, or does not fit the exposure."""


class ReferenceNotFoundError(ReferenceFileError, FileNotFoundError):
    """Reference files that a run needs cannot be had; the message lists all of them.

    Attributes
    ----------
    exit_status : int or None
        Status of the command line when it is not 1: 255 if there is no CRDS to ask at all.
    """

    exit_status = None


class CrdsUnavailableError(ReferenceFileError):
    """CRDS cannot be asked: no server answers, and there is no cache that could replace it."""


class HookError(UprampError, OSError):
    """A shell command that is a hook of a step failed."""


class StepExit(UprampError):
    """A step ends the run with an exit status of its own (64: there is no science data).

    Parameters
    ----------
    exit_status : int
        Status of the command line.
    message : str
    """

    def __init__(self, exit_status, message=""):
        super().__init__(message)
        self.exit_status = exit_status


class OutputError(UprampError, OSError):
    """A product cannot be written: the folder is missing or read-only, or the disk is full."""


class ConfigError(UprampError, ValueError):
    """A parameter is unknown or has a value outside its range."""


class StateError(UprampError, ValueError):
    """The saved state of a LinearPipeline is missing, damaged, stale or in use."""


class UnsupportedModeError(UprampError, ValueError):
    """The instrument or mode has no chain here (yet)."""
