"""The base of the data models: metadata by attribute, arrays by attribute, files."""

import copy
import datetime
import logging
import sys
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np

from upramp.errors import ShapeError
from upramp.models._asdf_document import TaggedValue
from upramp.models._asdf_file import AsdfSource, write_asdf_file
from upramp.models._checking import Checking
from upramp.models._dq_translation import DQTable
from upramp.models._extra import ExtraFits, settle_extra
from upramp.models._fits_file import FitsFile
from upramp.models._history import History
from upramp.models._inspecting import Inspecting
from upramp.models._metadata import Metadata, ValidationWarning, flattened, invalid_metadata
from upramp.models._node import Node
from upramp.models._reading import locate_arrays, read_into
from upramp.models._schema import load_schema
from upramp.models._slots import ArraySlot, native_array
from upramp.models._switches import Switches
from upramp.models._tables import Table
from upramp.models._writing import write_file

__all__ = ["OTHER_NAMES", "DataModel", "source_of"]

log = logging.getLogger(__name__)

_UNCHANGING = (str, int, float, complex, bool, type(None), TaggedValue)
_PEER = "stdatamodels"
# What the reference pipeline calls the models that have another name here; files use its names.
OTHER_NAMES = {"DataModel": "JwstDataModel", "ReferenceModel": "ReferenceFileModel"}
_NOT_UPDATED = ("meta.date", "meta.model_type")


class DataModel(Metadata, Checking, Inspecting):
    """Metadata and arrays of one exposure or reference, as its schema describes them.

    Parameters
    ----------
    init : str, Path, tuple of int, ndarray, dict, DataModel or None
        A FITS or ASDF file, or an `astropy.io.fits.HDUList`; the shape of the primary array, which is filled with its
        default; the primary array; a tree of metadata; another model, whose arrays are shared (and, if it is of the
        same class, whose metadata are); a model of the reference pipeline.
    schema : str, Path or dict, optional
        A schema instead of that of the class, see `load_schema`.
    pass_invalid_values, strict_validation, validate_on_assignment : bool, optional
        See `Switches`; default is what the environment says.
    validate_arrays, ignore_missing_extensions, ignore_unrecognized_tag : bool, optional
        Accepted as by the models of the reference pipeline: arrays are always checked, the rest is always ignored.
    **arrays : ndarray
        Other arrays by name; not together with a file or a model. Flags given with their table (``dq`` and ``dq_def``)
        are translated to standard flags.

    Raises
    ------
    FileFormatError
        The file is not FITS, is damaged, or holds an array that the model does not take.
    ShapeError
        An array has the wrong number of dimensions.
    TypeError
        `init` is none of the above.

    Notes
    -----
    Opening a file parses its headers only. ``model.data`` is a native array, made when it is first asked for and
    writable; ``model.mapped("data")`` gives the bits as they lie in the file, as long as nobody asked for the native
    array. An array that was never set is None, unless the schema makes it automatic.
    """

    schema_name = "core"
    schema_url = None  # of a class that was written for the reference pipeline: counts instead of schema_name
    writes_asdf = True
    crds_observatory = "jwst"
    classes: ClassVar[dict] = {}  # every model by its name, which is the value of DATAMODL

    def __init_subclass__(cls, **keywords):
        super().__init_subclass__(**keywords)
        cls.classes.setdefault(cls.__name__, cls)

    def __init__(
        self,
        init=None,
        schema=None,
        pass_invalid_values=None,
        strict_validation=None,
        validate_on_assignment=None,
        validate_arrays=None,
        ignore_missing_extensions=None,
        ignore_unrecognized_tag=None,
        **arrays,
    ):
        self._schema = load_schema((self.schema_url or self.schema_name) if schema is None else schema)
        self._switches = Switches.chosen(
            pass_invalid_values=pass_invalid_values,
            strict_validation=strict_validation,
            validate_on_assignment=validate_on_assignment,
        )
        self._values, self._nodes, self._slots = {}, set(), {}
        self._extra_cards, self._extra_hdus, self._extra_opened, self._history = {}, [], {}, History()
        self._has_automatic = False
        if arrays and isinstance(init, (str, Path, FitsFile, AsdfSource, DataModel, dict)):
            raise TypeError(
                f"Keyword arguments are not allowed when DataModel init is file-like: {', '.join(arrays)} cannot be "
                "given together with a file, a dict or a model"
            )
        self._initialise(init)
        for name, array in arrays.items():
            if name not in self._schema.arrays and name not in self._schema.keywords:
                # As with the reference's models; those of the ramp had an err once, which scripts still give.
                known = ", ".join(self._schema.arrays)
                log.warning(
                    "%s has no array %r (it has %s): it will not be in a file", type(self).__name__, name, known
                )
            setattr(self, name, array)
        if {"dq", "dq_def"} <= arrays.keys():
            self.dq = DQTable(self.dq_def, type(self).__name__).to_standard(self.dq)
        self._values["meta.model_type"] = self._name_in_files()
        self._values.setdefault("meta.date", _now())
        self._has_automatic = self.shape is not None
        self.on_init(init)

    def on_init(self, init):
        """Called when the model has been made; for subclasses to add to it.

        Parameters
        ----------
        init : object
            What the model was made from.
        """

    def on_save(self, path=None):
        """Called before the model is saved; for subclasses to bring metadata up to date.

        Parameters
        ----------
        path : Path
            Where it goes.
        """

    def _initialise(self, init):
        if init is None:
            return
        if isinstance(init, (str, Path)):
            init = source_of(init)
        if isinstance(init, FitsFile):
            read_into(self, init)
            self._note_source(init)
        elif isinstance(init, AsdfSource):
            init.read_into(self)
            self._note_source(init)
        elif hasattr(init, "writeto"):  # an HDUList; astropy need not be imported to see it
            if len(init):
                read_into(self, FitsFile.of_hdulist(init))
        elif isinstance(init, DataModel):
            self._adopt(init)
        elif isinstance(init, dict):
            for name, value in init.items():
                setattr(self, name, value)
        elif isinstance(init, tuple) and all(isinstance(n, (int, np.integer)) for n in init):
            setattr(self, self._primary_name(), self._primary_spec().filled(init))
        elif isinstance(init, np.ndarray):
            setattr(self, self._primary_name(), init)
        elif (peers := sys.modules.get(_PEER)) is not None and isinstance(init, peers.DataModel):
            from upramp.models.peer import from_peer

            self._adopt(from_peer(init))
        else:
            raise TypeError(
                f"{type(self).__name__} cannot be made from a {type(init).__name__}; expected a file name, a shape, "
                "an array, a dict of metadata or another model"
            )

    @classmethod
    def _name_in_files(cls):
        return OTHER_NAMES.get(cls.__name__, cls.__name__)

    def _note_source(self, source):
        self._values["meta.filename"] = source.path.name

    def _adopt(self, other):
        if type(other) is type(self):
            self._values, self._nodes, self._slots = other._values, other._nodes, other._slots
            self._extra_cards, self._extra_hdus = other._extra_cards, other._extra_hdus
            self._extra_opened = other._extra_opened
            self._history = other._history
            return
        if not self._schema.arrays:
            self._schema = other._schema  # a generic model has no places for arrays: they keep those that they have
        self._values, self._nodes = dict(other._values), set(other._nodes)
        settle_extra(other)
        self._extra_cards, self._extra_hdus = dict(other._extra_cards), list(other._extra_hdus)
        self._history = History(other._history)
        for name, slot in other._slots.items():
            spec = self._schema.arrays.get(name)
            if spec is not None:
                problem = spec.dimension_problem(len(slot.shape))
                if problem:
                    raise ShapeError(f"{type(other).__name__} cannot become a {type(self).__name__}: {name} {problem}")
                self._slots[name] = slot.recast(spec)

    def _primary_name(self):
        name = self.get_primary_array_name()
        if not name:
            raise TypeError(
                f"{type(self).__name__} has no primary array; name the arrays: {', '.join(self._schema.arrays)}"
            )
        return name

    def _primary_spec(self):
        return self._schema.arrays[self._primary_name()]

    # ---- attributes ----

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        spec = self._schema.arrays.get(name)
        if spec is None:
            return self._get(name)
        if name not in self._slots and self.makes_itself(spec):
            default = self.get_default(name)
            if default is not None:
                self._slots[name] = ArraySlot(spec, default)
        slot = self._slots.get(name)
        return None if slot is None else slot.native()

    def __dir__(self):
        return sorted({*super().__dir__(), *self._schema.arrays, *self._names_below("")})

    def __setattr__(self, name, value):
        if name.startswith("_") or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        elif name not in self._schema.arrays:
            self._set(name, value)
        elif value is None:
            self._slots.pop(name, None)
        else:
            spec = self._schema.arrays[name]
            self._slots[name] = ArraySlot(spec, native_array(value, spec))

    def __delattr__(self, name):
        if isinstance(getattr(type(self), name, None), property):
            object.__delattr__(self, name)
        elif name in self._slots:
            del self._slots[name]
        else:
            self._delete(name)

    def __getitem__(self, path):
        """Value or array by dotted path; parts that are numbers index lists."""
        name = path.partition(".")[0]
        if name in self._schema.arrays:
            return getattr(self, name)
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            try:
                found = self._get(".".join(parts[:length]))
            except AttributeError:
                continue
            for part in parts[length:]:
                if not isinstance(found, list) or not part.isdigit():
                    raise KeyError(path)
                found = found[int(part)]
            return found
        raise KeyError(path)

    def __setitem__(self, path, value):
        if "." in path:
            self._set(path, value)
        else:
            setattr(self, path, value)

    def __delitem__(self, path):
        if "." in path:
            self._delete(path)
        else:
            delattr(self, path)

    def __repr__(self):
        shape = "" if self.shape is None else str(self.shape)
        filename = self._values.get("meta.filename")
        origin = f" from {filename}" if filename else ""
        return f"<{type(self).__name__}{shape}{origin}>"

    def _described(self):
        return self._values.get("meta.filename") or type(self).__name__

    @property
    def shape(self):
        """Shape of the primary array; None when there is none. Nothing is read."""
        slot = self._slots.get(self.get_primary_array_name())
        return None if slot is None else slot.shape

    @property
    def override_handle(self):
        """How a model is named in a header when it stands in for a reference file."""
        return f"override://{type(self).__name__}"

    @property
    def history(self):
        """Lines of history (`History`), written as HISTORY cards."""
        return self._history

    @history.setter
    def history(self, lines):
        self._history = History(lines)

    def add_history_entry(self, description, software=None):
        """Append a line to the history; `software` (name and version) goes into the line."""
        if software:
            description = f"{description} ({' '.join(str(value) for value in dict(software).values())})"
        self._history.append(description)

    @property
    def extra_fits(self):
        """Cards and HDUs that the schema does not know, by HDU: ``model.extra_fits.SCI.header``, ``.data``."""
        return ExtraFits(self)

    @extra_fits.setter
    def extra_fits(self, tree):
        del self.extra_fits
        ExtraFits(self).take(tree)

    @extra_fits.deleter
    def extra_fits(self):
        self._extra_cards, self._extra_hdus, self._extra_opened = {}, [], {}

    @property
    def extra_hdus(self):
        """HDUs that the schema does not know; they are written back as they lie in the file."""
        return self._extra_hdus

    # ---- arrays ----

    def makes_itself(self, spec):
        """Whether an array is made when it is asked for: models that were made with the primary array have others."""
        return spec.automatic and self._has_automatic and self.shape is not None

    def has_array(self, name):
        """Whether an array is there, without making it."""
        return name in self._slots

    def array_shape(self, name):
        """Shape of an array, without reading it; None when it is not there."""
        slot = self._slots.get(name)
        return None if slot is None else slot.shape

    def mapped(self, name):
        """The bits of an array without a copy; None when the array is not there.

        Parameters
        ----------
        name : str
            An array of the schema, or a table whose columns are numbers of one type: (rows, columns).

        Returns
        -------
        MappedArray or None
            As the array lies in the file, where that means what the schema says (or is the raw form of it: uint16
            ramps) and nobody asked for the native array yet; else the native array.
        """
        spec = self._array_spec(name)
        if spec.is_table and len({spec.dtype[column].str for column in spec.dtype.names or ("", "")}) != 1:
            raise TypeError(f"{name} is a table with columns of several types; use model.{name}")
        slot = self._slots.get(name)
        return None if slot is None else slot.mapped()

    @property
    def dq_is_standard(self):
        """Whether the file holds `dq` in the standard flags, so that nothing had to be translated."""
        slot = self._slots.get("dq")
        return slot is None or slot.is_standard

    def get_default(self, attr):
        """A new array filled with the default of the schema, in the shape that goes with the primary array."""
        spec = self._array_spec(attr)
        return Table(0, spec.dtype) if spec.is_table else spec.filled(self._default_shape(spec))

    def get_dtype(self, attr):
        """The dtype of an array according to the schema."""
        if attr in self._schema.keywords or attr in self._schema.objects:
            raise ValueError(f'Attribute "{attr}" has no datatype defined in the schema. It is no array.')
        return self._array_spec(attr).dtype

    def new_array(self, name, shape):
        """A new array of the dtype of the schema, not initialised, that becomes the model's own."""
        spec = self._array_spec(name)
        self._slots[name] = ArraySlot(spec, np.empty(shape, spec.dtype))
        self._has_automatic |= name == self.get_primary_array_name()
        return self._slots[name].native()

    def attach(self, path):
        """Take the arrays from a file that holds this model; metadata stay."""
        self._slots = {}
        locate_arrays(self, FitsFile(path))

    def _array_spec(self, name):
        if name not in self._schema.arrays:
            raise AttributeError(f'{type(self).__name__} has no array {name!r}: it has no attribute "{name}"')
        return self._schema.arrays[name]

    def default_shape(self, name):
        """Shape of an array that goes with the primary array."""
        return self._default_shape(self._array_spec(name))

    def _default_shape(self, spec):
        if self.shape is None:
            return (0,) * (spec.ndim or 1)
        lengths = dict(zip(self._primary_spec().axes, self.shape, strict=False))
        if spec.axes and all(axis in lengths for axis in spec.axes):
            return tuple(lengths[axis] for axis in spec.axes)
        return self.shape[-spec.ndim :] if spec.ndim else self.shape

    # ---- copies and metadata as a whole ----

    def copy(self, memo=None):
        """An independent model; arrays that still lie in a file are not copied, for files are not written to."""
        settle_extra(self)
        new = type(self).__new__(type(self))
        new._schema, new._switches = self._schema, self._switches
        new._values = {path: _copied(value) for path, value in self._values.items()}
        new._nodes = set(self._nodes)
        new._slots = {name: slot.copy() for name, slot in self._slots.items()}
        new._extra_cards = {hdu: list(cards) for hdu, cards in self._extra_cards.items()}
        new._extra_hdus, new._extra_opened, new._history = list(self._extra_hdus), {}, History(self._history)
        new._has_automatic = self._has_automatic
        return new

    def __copy__(self):
        # That of Python shares everything but the model itself.
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def update(self, d, only=None, extra_fits=False, cal_logs=True):
        """Take over metadata; never arrays, nor ``meta.date`` and ``meta.model_type``.

        Parameters
        ----------
        d : DataModel or dict
            Of a model (one of the reference pipeline too), the values that have a card in an HDU that this model knows.
            Of a dict, every leaf.
        only : str or sequence of str, optional
            Restrict to the cards of these HDUs.
        extra_fits : bool
            Take over the cards that the schema does not know too.
        cal_logs : bool
            Merge the logs of the steps.
        """
        if isinstance(d, dict):
            for path, value in _leaves(d):
                if path not in _NOT_UPDATED and not isinstance(value, np.ndarray):
                    self._set(path, value)
            return
        if not isinstance(d, DataModel):
            from upramp.models.peer import from_peer

            d = from_peer(d, otherwise=DataModel)
        allowed = self._schema.known_hdus
        if only is not None:
            allowed &= {only} if isinstance(only, str) else set(only)
        for path, value in d._values.items():
            spec = d._schema.keywords.get(path)
            if spec is None or not spec.card or spec.hdu not in allowed or path in _NOT_UPDATED:
                continue
            if self._has_place_for(path):
                self._set(path, _copied(value))
        if extra_fits:
            settle_extra(d)
            for hdu, cards in d._extra_cards.items():
                if hdu in allowed:
                    self._extra_cards[hdu] = list(cards)
                    self._extra_opened.pop(hdu, None)
        if cal_logs:
            for path, value in d._values.items():
                if path.startswith("cal_logs."):
                    self._set(path, _copied(value))

    def to_flat_dict(self, include_arrays=True):
        """Everything that is stored as ``{dotted path: value}``; elements of lists one by one."""
        flat = {}
        for path, value in self._values.items():
            flat.update(flattened(path, value))
        if include_arrays:
            return flat | {name: getattr(self, name) for name in self._slots}
        return {path: value for path, value in flat.items() if not isinstance(value, np.ndarray)}

    def get_crds_parameters(self):
        """The scalars of the metadata by path: what references are chosen by."""
        simple = (str, int, float, complex)
        found = {}
        for path, value in self._values.items():
            if isinstance(value, simple):
                found[path] = value
            else:
                found.update((name, item) for name, item in flattened(path, value) if isinstance(item, simple))
        return found

    # ---- checks and files ----

    def prepare_to_save(self, path):
        """Give the metadata the values that go with saving under a name, and check the model."""
        self.on_save(path)
        self._values["meta.filename"] = Path(path).name
        self._values["meta.model_type"] = self._name_in_files()
        self._values["meta.date"] = _now()
        problem = self._invalid_values()
        is_asdf = Path(path).suffix == ".asdf"
        if problem and (self._switches.strict_validation or not is_asdf):
            raise invalid_metadata(problem)
        if problem:
            warnings.warn(problem, ValidationWarning, stacklevel=3)
        self.check_shapes({})
        if is_asdf or self.writes_asdf:  # references in FITS files are not asked, as in the reference pipeline
            self._check_required()

    def save(self, path, dir_path=None, overwrite=True):
        """Write the model to a file, FITS or ASDF.

        The file appears when it is complete; a file of the name is replaced then, even if the model maps it.

        Parameters
        ----------
        path : str or Path or callable
            Name ending in ``.fits`` or ``.asdf``; a callable makes it from ``meta.filename``.
        dir_path : str or Path, optional
            Folder, instead of that of `path`.
        overwrite : bool
            Whether a file of the name may be replaced.

        Returns
        -------
        str
            Name of the file.

        Raises
        ------
        ValueError
            The name ends otherwise.
        FileExistsError
            `overwrite` is False and there is a file of the name.
        OutputError, InvalidMetadataError, ShapeError
            The file cannot be written; the model is not valid.
        """
        path = Path(path(self.meta.filename) if callable(path) else path)
        if dir_path is not None:
            path = Path(dir_path) / path.name
        if path.suffix not in _WRITERS:
            raise ValueError(f"unknown filetype {path.suffix} of {path}; models are saved as .fits or .asdf")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
        self.prepare_to_save(path)
        _WRITERS[path.suffix](self, path)
        return str(path)

    def to_fits(self, init, overwrite=True):
        """The same as `save`, for FITS."""
        if not str(init).endswith(".fits"):
            raise ValueError(f"{init} does not end in .fits")
        return self.save(init, overwrite=overwrite)

    def to_asdf(self, init, overwrite=True):
        """The same as `save`, for ASDF."""
        if not str(init).endswith(".asdf"):
            raise ValueError(f"{init} does not end in .asdf")
        return self.save(init, overwrite=overwrite)

    def close(self):
        """Release resident pages of mapped arrays. The model stays usable; its mapping ends with it."""
        for slot in self._slots.values():
            if slot.file_array is not None:
                mapped = slot.file_array.mapped()
                mapped.release(0, mapped.bits.shape[-2] if mapped.bits.ndim > 1 else 0)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


_WRITERS = {".fits": write_file, ".asdf": write_asdf_file}


def source_of(path):
    """The file of a name as `FitsFile` or `AsdfSource`.

    Raises
    ------
    ValueError
        The name has no extension, or another one.
    FileNotFoundError, FileFormatError
        There is no such file; it is not what its name says.
    """
    path = Path(path)
    if not path.suffix:
        raise ValueError(f"Input file path does not have an extension: {path}")
    if path.suffix == ".asdf":
        return AsdfSource(path)
    if not path.name.endswith((".fits", ".fits.gz")):
        raise ValueError(f"Unrecognized file type for: {path}; expected .fits, .fits.gz or .asdf")
    return FitsFile(path)


def _now():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def _copied(value):
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value if isinstance(value, _UNCHANGING) else copy.deepcopy(value)


def _leaves(tree, prefix=""):
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Node):
            value = value._stored()
        if isinstance(value, dict):
            yield from _leaves(value, path + ".")
        else:
            yield path, value
