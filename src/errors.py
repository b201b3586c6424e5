"""The errors of the project: one base, leaves that are also the builtin a caller would catch."""

from upramp.kernels._layout import DTypeError, ShapeError, UprampError

__all__ = [
    "ConfigError",
    "DTypeError",
    "FileFormatError",
    "MissingKeywordError",
    "ReferenceFileError",
    "ShapeError",
    "UnsupportedModeError",
    "UprampError",
]


class FileFormatError(UprampError, ValueError):
    """A file is not what it should be: not FITS, truncated, without the HDU that is needed."""


class MissingKeywordError(UprampError, ValueError):
    """Metadata that a step needs is absent; the message names the keywords."""


class ReferenceFileError(UprampError, ValueError):
    """A reference file is missing, or does not fit the exposure."""


class ConfigError(UprampError, ValueError):
    """A parameter is unknown or has a value outside its range."""


class UnsupportedModeError(UprampError, ValueError):
    """The instrument or mode has no chain here (yet)."""
