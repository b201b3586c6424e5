"""How strictly a model takes values that its schema does not permit."""

import os
from dataclasses import dataclass

__all__ = ["Switches"]

_TRUE, _FALSE = ("true", "t", "yes", "y"), ("false", "f", "no", "n")


@dataclass(frozen=True)
class Switches:
    """The validation switches of a model.

    Attributes
    ----------
    strict_validation : bool
        An error instead of a warning.
    pass_invalid_values : bool
        Keep the value, with a warning.
    validate_on_assignment : bool
        Look at values when they are set or read from a header; saving to FITS looks at them in any case.
    """

    strict_validation: bool = False
    pass_invalid_values: bool = False
    validate_on_assignment: bool = True

    @classmethod
    def chosen(cls, **given):
        """Switches that were given, else those of the environment (STRICT_VALIDATION and so on), else the usual ones.

        Raises
        ------
        ValueError
            A variable of the environment is neither true nor false.
        """
        chosen = {}
        for name, value in given.items():
            text = os.environ.get(name.upper())
            if value is not None:
                chosen[name] = bool(value)
            elif text is not None:
                chosen[name] = _as_boolean(text)
        return cls(**chosen)


def _as_boolean(text):
    lower = text.strip().lower()
    if lower in _TRUE or lower in _FALSE:
        return lower in _TRUE
    try:
        return bool(int(lower))
    except ValueError:
        raise ValueError(f'Cannot convert value "{text}" to boolean unambiguously.') from None
