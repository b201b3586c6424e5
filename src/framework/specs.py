"""Spec strings: which parameters a step has, their checks and defaults, and the validation of values.

A spec is a block of lines ``name = check(arguments)  # comment`` (ConfigObj's configspec language). The specs
of a class and its bases are merged, the derived class winning.
"""

import inspect
import re
import sys
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from configobj import ConfigObj, ConfigObjError, flatten_errors, get_extra_values
from configobj.validate import ValidateError, Validator, VdtTypeError

from upramp.errors import ConfigError

__all__ = [
    "add_section",
    "any_is_peer",
    "as_ours",
    "format_spec",
    "is_model",
    "located",
    "merged_spec",
    "parse_value",
    "validate",
]

_PEER = "stdatamodels"


def is_model(thing):
    """Whether an object is a data model, ours or of a package with the same interface."""
    return hasattr(thing, "get_crds_parameters") and hasattr(thing, "save")


def any_is_peer(things):
    """Whether a model of the reference pipeline is among some things, or in a list among them."""
    if _PEER not in sys.modules:  # whoever has such a model has imported it
        return False
    from upramp.models.peer import is_peer

    return any(any_is_peer(thing) if isinstance(thing, list | tuple) else is_peer(thing) for thing in things)


def as_ours(thing):
    """Something, or a list of things, with models of the reference pipeline replaced by ours."""
    if not any_is_peer([thing]):
        return thing
    from upramp.models import peer

    return peer.ours(thing)


def merged_spec(cls):
    """Merge the specs of a class and its bases.

    Returns
    -------
    configobj.ConfigObj
        Parameter name -> check; comments in ``inline_comments``. Base class first, then the additions of
        each derived class; an entry that a derived class replaces keeps its place.

    Raises
    ------
    ConfigError
        A spec cannot be parsed; the message names the class.
    """
    merged = ConfigObj(_inspec=True, list_values=False, interpolation=False)
    for base in reversed(cls.__mro__):
        _merge_into(merged, own_spec(base))
    return merged


def own_spec(cls):
    """The spec that a class itself brings: its ``spec`` string, else ``<ClassName>.spec`` beside its source.

    It is not to be changed: every class with the same text has this one.
    """
    text = cls.__dict__.get("spec")
    if text is None and cls.__module__ not in ("builtins", "__main__"):
        text = _text_beside(inspect.getfile(cls), cls.__name__)
    try:
        return _parsed(text or "")
    except ConfigObjError as error:
        raise ConfigError(f"The spec of {cls.__name__} is not readable: {error}") from error


@cache
def _text_beside(source, name):
    path = Path(source).parent / f"{name}.spec"
    return path.read_text() if path.is_file() else None


@cache
def _parsed(text):
    # A run of a pipeline comes here 600 times with 25 different texts.
    spec = ConfigObj(text.splitlines(), _inspec=True, list_values=False, interpolation=False, raise_errors=True)
    _split_comments(spec)
    return spec


def _split_comments(section):
    for key in section.scalars:
        # In a spec ConfigObj leaves the comment in the value.
        check, comment = re.fullmatch(r"""((?:'[^']*'|"[^"]*"|[^#'"])*)(#.*)?""", section[key]).groups()
        section[key] = check.strip()
        section.inline_comments[key] = (comment or "").strip()
    for key in section.sections:
        _split_comments(section[key])


def _merge_into(target, source):
    for key in source.scalars:
        target[key] = source[key]
        target.inline_comments[key] = source.inline_comments.get(key, "")
    for key in source.sections:
        if key not in target.sections:
            target[key] = {}
        _merge_into(target[key], source[key])


def add_section(spec, name, source):
    """Add the entries of a spec to another one, as a section called ``name`` (made when absent)."""
    if name not in spec.sections:
        spec[name] = {}
    _merge_into(spec[name], source)


def format_spec(spec):
    """The text of a spec, one parameter per line with its comment."""
    lines = []
    for key in spec.scalars:
        comment = spec.inline_comments.get(key)
        lines.append(f"{key} = {spec[key]}  {comment}" if comment else f"{key} = {spec[key]}")
    for key in spec.sections:
        bracket = "[" * spec[key].depth
        lines += [f"{bracket}{key}{bracket.replace('[', ']')}", format_spec(spec[key])]
    return "\n".join(lines)


def parse_value(text):
    """Turn the text of one value into a string or a list of strings, by the rules of ini files.

    Commas make lists, quotes protect them, an unquoted ``#`` starts a comment.
    """
    try:
        return ConfigObj([f"value = {text}"], interpolation=False, raise_errors=True)["value"]
    except ConfigObjError as error:
        raise ConfigError(f"{text!r} is not a value: {error}; quotes and commas must match") from error


def located(value, check, directory):
    """Make a value absolute that names a file relative to the place where the value was written."""
    names_file = isinstance(check, str) and check.startswith(("input_file", "output_file"))
    if names_file and isinstance(value, str) and value:
        return str(Path(directory, value).absolute())
    return value


def _input_file(value):
    if not Path(value).exists():
        raise ValidateError(f"Path {value!r} does not exist")
    return value


def _output_file(value):
    Path(value).parent.mkdir(parents=True, exist_ok=True)
    return value


def _is_datamodel(value):
    if not is_model(value):
        raise VdtTypeError(value)
    return value


def _is_string_or_datamodel(value):
    if not (isinstance(value, str) or is_model(value)):
        raise VdtTypeError(value)
    return value


class _NoneIsAllowed(Validator):
    """None is a value that every parameter may take, whatever its check."""

    def check(self, check, value, missing=False):
        if value is None and not missing:
            return None
        return super().check(check, value, missing)


_validator = _NoneIsAllowed(
    {
        "input_file": _input_file,
        "output_file": _output_file,
        "is_datamodel": _is_datamodel,
        "is_string_or_datamodel": _is_string_or_datamodel,
    }
)


def validate(values, spec):
    """Convert values by their checks and fill in the defaults.

    Parameters
    ----------
    values : dict
        Parameter name -> value, sections as nested dictionaries.
    spec : configobj.ConfigObj
        From `merged_spec`.

    Returns
    -------
    dict
        Every parameter of the spec, converted.

    Raises
    ------
    ConfigError
        Names every parameter that is unknown, missing or of a bad value.
    """
    misplaced = list(_misplaced(values, spec))
    if misplaced:
        raise ConfigError("\n".join(misplaced))
    config = ConfigObj(values, configspec=spec, interpolation=False)
    outcome = config.validate(_validator, preserve_errors=True)
    problems = []
    for sections, key, error in flatten_errors(config, outcome):
        where = "/".join([*sections, *([key] if key else [])])
        # The comma of a list of one is what everybody forgets, and most of all with hooks.
        hint = " A list is expected; of one hook it is written with a comma at the end: hook," if _is_hooks(key) else ""
        problems.append(f"Config parameter {where!r}: {error or 'missing'}{hint}")
    for sections, key in get_extra_values(config):
        near = get_close_matches(key, _section(spec, sections), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        problems.append(f"Extra value {key!r} in {'/'.join(sections) or 'root'}{hint}")
    if problems:
        raise ConfigError("\n".join(problems))
    return config.dict()


def _misplaced(values, spec, above=""):
    """What is said of values where the spec has a section, and of sections where it has a value."""
    for name in spec.sections:
        value, where = values.get(name, {}), f"{above}{name}"
        if isinstance(value, dict):
            yield from _misplaced(value, spec[name], f"{where}/")
        else:
            yield f"{where!r} is {value!r}; expected a section of parameters"
    for name in spec.scalars:
        if isinstance(values.get(name), dict):
            yield f"{above + name!r} is a section ({values[name]!r}); expected a value: {spec[name]}"


def _is_hooks(key):
    return key in ("pre_hooks", "post_hooks")


def _section(spec, sections):
    for name in sections:
        spec = spec[name]
    return list(spec)
