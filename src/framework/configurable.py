"""How a step gets its parameters: from code, files, CRDS and the command line; and how they are shown."""

import logging
import sys
from pathlib import Path

from upramp.errors import ReferenceFileError
from upramp.framework import config, logs, specs
from upramp.framework.classes import full_name
from upramp.framework.references import (
    NOT_APPLICABLE,
    OBSERVATORY,
    ReferenceFinder,
    crds_parameters,
    override_name,
    steppars_disabled,
)
from upramp.framework.specs import is_model

__all__ = ["Configurable", "plain"]

log = logging.getLogger(__name__)


class Configurable:
    """The part of a Step that deals with parameters; see `upramp.framework.step.Step`."""

    @classmethod
    def load_spec_file(cls):
        """The merged spec of this class and its bases, with an override for every reference type."""
        spec = specs.merged_spec(cls)
        for reftype in cls.reference_file_types:
            name = override_name(reftype)
            spec[name] = "is_string_or_datamodel(default=None)"
            spec.inline_comments[name] = f"# Override the {reftype} reference file"
        return spec

    @classmethod
    def print_configspec(cls):
        """Write the merged spec to standard output."""
        sys.stdout.write(specs.format_spec(cls.load_spec_file()) + "\n")

    @classmethod
    def get_config_reftype(cls):
        """Type under which CRDS keeps parameters of this step."""
        return f"pars-{cls.__name__.lower()}"

    @classmethod
    def parameter_reftypes(cls, keys=()):
        """Types of the parameter references of this step (and of its sub-steps), outermost first.

        Returns
        -------
        list of (tuple of str, str)
            Keys of the sub-step below this one, type.
        """
        return [(keys, cls.get_config_reftype())]

    @classmethod
    def from_config_file(cls, config_file, parent=None, name=None):
        """Make a step from a ``.cfg`` or ``.asdf`` parameter file, without asking CRDS.

        Raises
        ------
        ConfigError
            The file cannot be read or has bad parameters.
        TypeError
            The class in the file is not a subclass of this one.
        """
        found = config.read_parameter_file(config_file)
        step_class = cls.class_of_file(found)
        return step_class.from_layers(
            [found.layer], name=name or found.name or found.path.stem, parent=parent, config_file=config_file
        )

    @classmethod
    def class_of_file(cls, parameter_file):
        """The class that a parameter file names, else this one."""
        from upramp.framework.classes import find_class

        if not parameter_file.class_name:
            return cls
        found = find_class(parameter_file.class_name, parameter_file.path.absolute().parent)
        if not issubclass(found, cls):
            raise TypeError(
                f"Configuration file does not match the expected step class. Expected {cls}, got {found} "
                f"(from {parameter_file.path})"
            )
        return found

    @classmethod
    def from_config_section(cls, section, parent=None, name=None, config_file=None):
        """Make a step from a mapping of parameters; its ``name`` is used, ``class`` is ignored."""
        layer = config.Layer(config.Rank.USER_FILE, "section", dict(section), config.folder_of(config_file))
        return cls.from_layers([layer], name=name or section.get("name"), parent=parent, config_file=config_file)

    @classmethod
    def from_layers(cls, layers, *, name=None, parent=None, config_file=None):
        """Make a step from layers of a configuration (see `upramp.framework.config`)."""
        spec = cls.load_spec_file()
        values, origins = config.resolve(layers, spec)
        values = specs.validate(values, spec)
        return cls(name=name, parent=parent, config_file=config_file, _validated=True, _origins=origins, **values)

    @classmethod
    def configure(cls, dataset=None, *, config_file=None, name=None, pars=None, origin="keyword", use_crds=True):
        """Make a step with the full precedence: caller, user's file, CRDS parameters, defaults.

        Parameters
        ----------
        dataset : str, Path or model, optional
            Selects the parameter references in CRDS.
        config_file : str or Path, optional
            User's parameter file; its class is ignored.
        name : str, optional
            Name of the step.
        pars : dict, optional
            The caller's values, sub-steps under ``steps``.
        origin : str
            What to call the caller's values in `origins`.
        use_crds : bool
            Whether to look for parameter references.

        Notes
        -----
        What is logged meanwhile belongs into the log of the runs of the step.
        """
        with logs.recording(cls.get_stpipe_loggers()) as recorder:
            step = cls._configured(dataset, config_file, name, pars or {}, origin, use_crds)
        step._earlier_lines = recorder.lines
        return step

    @classmethod
    def _configured(cls, dataset, config_file, name, pars, origin, use_crds):
        """`configure` without the log of it."""
        layers = [config.Layer(config.Rank.CALLER, origin, pars)]
        if config_file is not None:
            found = config.read_parameter_file(config_file)
            layers.append(found.layer)
            name = name or found.name or found.path.stem
        finder, metadata, crds_name = ReferenceFinder(), None, None
        source = cls.get_config_from_reference
        if use_crds and getattr(source, "__func__", source) is not Configurable.get_config_from_reference.__func__:
            origin = f"get_config_from_reference of {cls.__name__}"
            layers.append(config.Layer(config.Rank.CRDS_PIPELINE, origin, source(dataset)))
        elif use_crds and not steppars_disabled():
            metadata = _metadata_for_parameters(dataset)
            crds_layers, crds_name = cls._crds_layers(finder, metadata) if metadata else ([], None)
            layers.extend(crds_layers)
        step = cls.from_layers(layers, name=name or crds_name, config_file=config_file)
        step._finder = finder
        step._input_metadata = (str(dataset), metadata) if metadata and not is_model(dataset) else None
        return step

    @classmethod
    def _crds_layers(cls, finder, metadata):
        wanted = cls.parameter_reftypes()
        paths, missing = finder.try_find(metadata, list(dict.fromkeys(reftype for _, reftype in wanted)))
        if finder.unavailable:
            log.warning("Parameters of the observatory are not used: %s", finder.unavailable)
        for reftype, reason in missing.items():
            log.debug("%s: No parameters found (%s)", reftype.upper(), reason)
        layers, name = [], None
        for keys, reftype in wanted:
            path = paths.get(reftype, NOT_APPLICABLE)
            if path == NOT_APPLICABLE:
                continue
            log.info("%s parameters found: %s", reftype.upper(), path)
            found = config.read_parameter_file(path)
            values = found.values
            for key in reversed(keys):
                values = {"steps": {key: values}}
            if not keys:
                name = found.name
            rank = config.Rank.CRDS_STEP if keys else config.Rank.CRDS_PIPELINE
            layers.append(config.Layer(rank, f"CRDS {Path(path).name}", values, Path(path).parent))
        return layers, name

    @classmethod
    def get_config_from_reference(cls, dataset, disable=None, crds_observatory=None):
        """Parameters that CRDS has for an exposure.

        Parameters
        ----------
        dataset : str, Path, model or dict
            The exposure, or its metadata as `upramp.framework.references.crds_parameters` gives them.
        disable : bool, optional
            Do not ask. Default: as the environment variable STPIPE_DISABLE_CRDS_STEPPARS says.
        crds_observatory : str, optional
            Accepted where it is ``"jwst"``, the only one there is.

        Returns
        -------
        dict
            Those of sub-steps below ``steps``, where each has a dictionary, if an empty one.
        """
        if crds_observatory not in (None, OBSERVATORY):
            raise ValueError(f"Need a valid name for crds_observatory: {crds_observatory!r} is not {OBSERVATORY!r}")
        if steppars_disabled() if disable is None else disable:
            return cls._empty_sections()
        metadata = dataset if isinstance(dataset, dict) else _metadata_for_parameters(dataset)
        layers, name = cls._crds_layers(ReferenceFinder(), metadata) if metadata else ([], None)
        sections = config.Layer(config.Rank.CRDS_STEP, "sections", cls._empty_sections())
        values, _ = config.resolve([sections, *layers], cls.load_spec_file())
        return values | ({"name": name} if name else {})

    @classmethod
    def _empty_sections(cls):
        """A dictionary for every sub-step below ``steps``: a script may set values in it."""
        return {}

    @classmethod
    def build_config(cls, input, config_file=None, **pars):
        """Merge what was written down about the parameters, without validation and without making a step.

        Parameters
        ----------
        input : str, Path, model or None
            Selects the parameters in CRDS; None: do not ask.
        config_file : str or Path, optional
            Parameter file.
        **pars
            Highest: the caller's values.

        Returns
        -------
        values : dict
            Without the defaults.
        config_file : str, Path or None
            As given.
        """
        layers = [config.Layer(config.Rank.CALLER, "keyword", pars)]
        if config_file is not None:
            layers.append(config.read_parameter_file(config_file).layer)
        if input is not None:
            layers.append(config.Layer(config.Rank.CRDS_PIPELINE, "CRDS", cls.get_config_from_reference(input)))
        return config.resolve(layers, cls.load_spec_file())[0], config_file

    def get_pars(self, full_spec=True):
        """Current values of the parameters, without the reference overrides.

        Parameters
        ----------
        full_spec : bool
            Also those that the base classes define.
        """
        spec = specs.merged_spec(type(self)) if full_spec else specs.own_spec(type(self))
        return {key: getattr(self, key) for key in spec if key != "steps"}

    def update_pars(self, parameters):
        """Set parameters; unknown names are ignored."""
        known = self.load_spec_file()
        for key, value in parameters.items():
            if key in known and key != "steps":
                setattr(self, key, value)
            else:
                log.debug("%s has no parameter %r, ignored", self.name, key)

    def explain_pars(self):
        """Every parameter with its value and where that came from, one per line."""
        values = {key: value for key, value in self.get_pars().items() if key != "steps"} | self.get_overrides()
        return "\n".join(f"{key} = {value!r}  # {self.origin(key)}" for key, value in values.items())

    def set_parameter(self, key, value, origin):
        """Set a parameter and note where the value came from."""
        setattr(self, key, value)
        self._resolved[key], self.origins = value, self.origins | {key: origin}

    def origin(self, key):
        """Where the present value of a parameter came from."""
        own = self._input_dir if key == "input_dir" else getattr(self, key)  # the former may be that of a step around
        if own is not self._resolved.get(key):
            return "attribute"
        return self.origins.get(key, "default")

    @property
    def sub_steps(self):
        """Key -> sub-step; a step that is not a pipeline has none."""
        return {}

    def get_overrides(self):
        """The ``override_*`` parameters of this step that are set."""
        names = [override_name(reftype) for reftype in self.reference_file_types]
        values = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def parameters_text(self):
        """The parameters in the form of YAML, as they are logged at the start of a run."""
        return "\n".join(_text_lines(self.get_pars(), "  "))

    def export_config(self, filename, include_metadata=False):
        """Write the parameters as an ASDF parameter file.

        Parameters
        ----------
        filename : str or Path
        include_metadata : bool
            Add the ``meta`` that CRDS wants, with ``<SPECIFY>`` for what is not known here.
        """
        tree = self.export_tree()
        if include_metadata:
            tree["meta"] = _file_metadata(full_name(type(self)))
        config.save_parameter_file(filename, tree)

    def export_tree(self):
        """Class, name and parameters as the tree of a parameter file; overrides that are files included."""
        pars = {key: value for key, value in self.get_pars().items() if key != "steps"}
        pars |= {key: value for key, value in self.get_overrides().items() if isinstance(value, str)}
        return {"class": full_name(type(self)), "name": self.name, "parameters": plain(pars)}


def _text_lines(values, indent):
    for key, value in values.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _text_lines(value, indent + "  ")
        elif isinstance(value, list | tuple) and len(value):
            yield f"{indent}{key}:"
            yield from (f"{indent}- {one}" for one in value)
        else:
            yield f"{indent}{key}: {repr(value) if value == '' else value}"


def plain(value):
    """A value as YAML and JSON can write it."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _file_metadata(class_name):
    from datetime import UTC, datetime

    unknown = "<SPECIFY>"
    return {
        "author": unknown,
        "date": datetime.now(UTC).replace(microsecond=0, tzinfo=None).isoformat(),
        "description": f"Parameters for calibration step {class_name}",
        "instrument": {"name": unknown},
        "origin": unknown,
        "pedigree": unknown,
        "reftype": unknown,
        "telescope": unknown,
        "useafter": unknown,
    }


def _metadata_for_parameters(dataset):
    """Metadata that selects parameter references; None, with a warning, when it cannot be had."""
    if dataset is None:
        log.warning("No input file specified, unable to retrieve parameters from CRDS")
        return None
    try:
        return crds_parameters(dataset)
    except (OSError, ValueError, TypeError, AttributeError, ReferenceFileError) as error:
        log.warning("Unable to open input file, cannot get parameters from CRDS: %s", error)
        return None
