"""Parameter files, and the one place where a configuration is resolved from its layers.

Layers, highest first: command line or keyword, a ``config_file`` that these give for a sub-step, the user's parameter
file, a ``config_file`` in that, the observatory's parameter reference of the pipeline, those of its sub-steps; then
the defaults of the spec. Only values that somebody wrote take part. Every resolved value knows the layer it came from.
"""

import logging
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

from configobj import ConfigObj, ConfigObjError, Section

from upramp.errors import ConfigError
from upramp.framework.specs import located

__all__ = ["Layer", "ParameterFile", "Rank", "read_parameter_file", "resolve", "save_parameter_file", "yaml_tree"]

log = logging.getLogger(__name__)

RESERVED = ("name", "class", "config_file")


class Rank(IntEnum):
    """Which layer wins: the lowest number."""

    CALLER = 0
    CALLER_CONFIG_FILE = 1
    USER_FILE = 2
    CONFIG_FILE = 3
    CRDS_PIPELINE = 4
    CRDS_STEP = 5


@dataclass(frozen=True)
class Layer:
    """Values from one source. Relative file names in them start at ``directory``."""

    rank: Rank
    origin: str
    values: dict
    directory: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True)
class ParameterFile:
    """The content of a parameter file: a step's class and name (or None), and its parameters."""

    path: Path
    class_name: str | None
    name: str | None
    values: dict

    @property
    def layer(self):
        return Layer(Rank.USER_FILE, f"file {self.path.name}", self.values, self.path.absolute().parent)


def read_parameter_file(path):
    """Read a ``.cfg`` (ini) or ``.asdf`` parameter file; the content decides, not the name.

    Returns
    -------
    ParameterFile

    Raises
    ------
    ConfigError
        No such file, or not a parameter file.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"Config file {path} not found.")
    content = path.read_bytes()
    try:
        text = content.decode()
        values = _asdf_values(text) if content.startswith(b"#ASDF") else _ini_values(text)
    except (UnicodeDecodeError, ConfigObjError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not a parameter file ({type(error).__name__}: {error}); expected an ini file with "
            "lines 'name = value', or an ASDF file with 'class' and 'parameters'"
        ) from error
    class_name, name = values.pop("class", None), values.pop("name", None)
    for key, text in (("class", class_name), ("name", name)):
        if not isinstance(text, str | None):
            raise ConfigError(f"{path}: {key} is {text!r}; expected a text")
    values.pop("config_file", None)
    return ParameterFile(path, class_name, name, values)


def _ini_values(text):
    return ConfigObj(text.splitlines(), raise_errors=True).dict()


def _asdf_values(text):
    tree = yaml_tree(text)
    if not isinstance(tree.get("parameters"), dict):
        raise ValueError("it has no mapping 'parameters'")
    if "class" not in tree:  # the layout of schema 0.1.0: everything under `parameters`
        tree = tree["parameters"]
        return dict(tree)
    return _asdf_step(tree)


def _asdf_step(item):
    values = dict(item["parameters"]) | {"class": item["class"], "name": item.get("name")}
    if item.get("steps"):
        values["steps"] = {step["name"]: _asdf_step(step) for step in item["steps"]}
    return values


def yaml_tree(text):
    """The tree of an ASDF file without arrays, or of plain YAML.

    Raises
    ------
    ValueError
        It is not readable, or not a mapping.
    """
    # A parameter file is the YAML part of ASDF only. Reading just that avoids importing asdf, which takes
    # longer than the rest of reading the configuration together.
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        """YAML where every tag means its plain value."""

    def plain(loader, suffix, node):
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("!", plain)
    Loader.add_multi_constructor("tag:stsci.edu:", plain)
    try:
        tree = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"its YAML is not readable: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError("its tree is not a mapping")
    return tree


def folder_of(config_file):
    """Folder where the relative file names of a parameter file start; without a file, the current one."""
    return Path(config_file).absolute().parent if config_file else Path.cwd()


def save_parameter_file(path, tree):
    """Write a tree (class, name, parameters, steps, meta) as an ASDF parameter file."""
    import asdf

    asdf.AsdfFile(tree).write_to(path)


def resolve(layers, spec):
    """Merge layers of explicit values.

    Parameters
    ----------
    layers : sequence of Layer
        Their ranks decide; of two with the same rank the earlier one wins.
    spec : configobj.ConfigObj
        Tells which values name files.

    Returns
    -------
    values : dict
        Nested; file names absolute. Not validated, without the defaults.
    origins : dict
        ``{"jump": ..., "steps": {...}}`` in the same shape: the origin of each value.
    """
    values, origins = {}, {}
    lowest_first = sorted(reversed(_with_config_files(layers)), key=lambda layer: -layer.rank)
    for layer in lowest_first:
        if layer.rank >= Rank.CRDS_PIPELINE:
            layer = replace(layer, values=_known_only(layer, spec))
        _overlay(values, origins, layer.values, spec, layer)
    return values, origins


def _known_only(layer, spec):
    """Drop what the observatory's file says about steps and parameters that are not here, and warn."""
    dropped = []

    def pick(values, section, keys):
        kept = {}
        for key, value in values.items():
            entry = section.get(key)
            if entry is None or isinstance(entry, Section) != isinstance(value, dict):
                dropped.append(".".join([*keys, key]))
            else:
                kept[key] = pick(value, entry, [*keys, key]) if isinstance(value, dict) else value
        return kept

    known = pick(layer.values, spec, [])
    if dropped:
        log.warning("%s has parameters that do not exist here, ignored: %s", layer.origin, ", ".join(dropped))
    return known


def _overlay(values, origins, new, spec, layer):
    for key, value in new.items():
        entry = spec.get(key) if isinstance(spec, Section) else None
        if isinstance(value, dict):
            if not isinstance(values.get(key), dict):
                values[key], origins[key] = {}, {}
            _overlay(values[key], origins[key], value, entry, layer)
        else:
            values[key] = located(value, entry, layer.directory)
            origins[key] = layer.origin


def _with_config_files(layers):
    """Strip name, class and config_file from the layers; add the files that they name for single sub-steps."""
    result = []
    for layer in layers:
        files = []
        result.append(replace(layer, values=_stripped(layer, layer.values, (), files)))
        result.extend(_with_config_files(files))
    return result


def _stripped(layer, values, keys, files):
    kept = {key: value for key, value in values.items() if key not in RESERVED}
    if isinstance(kept.get("steps"), dict):
        steps = kept["steps"].items()
        kept["steps"] = {
            key: _stripped(layer, step, (*keys, key), files) if isinstance(step, dict) else step for key, step in steps
        }
    if keys and values.get("config_file"):
        files.append(_sub_step_file(layer, values["config_file"], keys))
    return kept


def _sub_step_file(layer, name, keys):
    found = read_parameter_file(Path(layer.directory, name))
    if found.name is not None and found.name != keys[-1]:
        raise ConfigError(
            f"{found.path} is given for the step {keys[-1]!r}, but has the name {found.name!r}; "
            "remove the name from the file, or use it for the step it belongs to"
        )
    values = found.values
    for key in reversed(keys):
        values = {"steps": {key: values}}
    rank = Rank.CALLER_CONFIG_FILE if layer.rank <= Rank.CALLER_CONFIG_FILE else Rank.CONFIG_FILE
    return Layer(rank, f"config_file {found.path.name}", values, found.path.absolute().parent)
