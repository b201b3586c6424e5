"""Schemas: YAML files in ``schemas/`` compiled once into flat, typed descriptors.

The vocabulary is that of JSON Schema (type, enum, anyOf, pattern, properties, allOf, $ref) with, for FITS:

==============  =====================================================================================
fits_keyword    the card of a scalar
fits_hdu        the HDU of a card (default: the primary) or of an array (default: none, it is in the ASDF extension)
datatype        element type of an array; a list of ``{name, datatype, unit}`` makes it a table, in whose files a column
                with a ``default`` may be absent; an empty list is a table of any columns
allow_extra_columns  a table may have further columns
raw_datatype    element type in which files of an earlier stage hold the array; `mapped` gives it as it lies
tag             an object of the asdf library, such as a WCS, and no number, text or array
ndim, max_ndim  exact and largest number of dimensions of an array
axes            names of the axes; arrays of a model agree in the length of an axis of the same name
default         fill value of an array that is asked for before it was set
automatic       the array exists, filled with its default, as soon as the primary array does
keywords_of     ``{schema: [paths below meta]}``: keywords that mean the same as in another schema
alike           ``{"name name ...": {...}}``: properties that differ in their names only, which are their cards too
required        at the top: paths below ``meta`` that a file of the model should have; elsewhere: names that a group has
                to have
==============  =====================================================================================

An array is a property with a ``datatype``; a keyword is any other property without ``properties``. ``$ref`` names a
file in the folder of the schema, one of the schemas here, or a resource of the asdf library.
"""

from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

from upramp.errors import SchemaError

__all__ = ["ArraySpec", "KeywordSpec", "Schema", "load_schema"]

PRIMARY = "PRIMARY"
_SUFFIXES = (".yaml", ".yml")
_PEER_SCHEMAS = "http://stsci.edu/schemas/jwst_datamodel/"  # of the reference pipeline; ours mean the same
_NO_OBJECTS = (str, int, float, complex, list, np.ndarray)
_OBJECTS = ("http://stsci.edu/schemas/asdf", "asdf://")  # schemas of what the asdf library makes of its tags
_OTHER_NAMES = {"referencefile": "reference", "subarray": "reference_subarray"}
_PYTHON_TYPES = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


@dataclass(frozen=True)
class KeywordSpec:
    """One scalar of a model.

    `section` is the path of the closest enclosing object that has a title, or None.
    """

    path: str
    card: str | None
    hdu: str
    title: str
    section: str | None
    fragment: dict = field(repr=False)
    default: object = None

    @cached_property
    def _quick(self):
        allowed = self.fragment.get("enum")
        plain = not {"anyOf", "pattern", "items"} & self.fragment.keys()
        return _PYTHON_TYPES.get(self.fragment.get("type")), allowed and frozenset(allowed), plain

    def problem(self, value):
        """Return what is wrong with a value, or None.

        Values of the plain type (and among the permitted ones) need no validator; everything else is for
        jsonschema to judge, which is imported only then.
        """
        if not self.fragment:
            return None
        if "tag" in self.fragment:
            return f"it is no object of the kind {self.fragment['tag']}" if isinstance(value, _NO_OBJECTS) else None
        types, allowed, plain = self._quick
        is_plain = types is not None and type(value) in types and plain
        if is_plain and (allowed is None or value in allowed):
            return None
        import jsonschema

        # Draft 4 is the draft in which 3.0 is not an integer.
        for error in jsonschema.Draft4Validator(self.fragment).iter_errors(value):
            return error.message
        return None


@dataclass(frozen=True)
class ArraySpec:
    """One array or table of a model; a table has a structured dtype."""

    name: str
    hdu: str | None
    dtype: np.dtype
    title: str = ""
    raw_kind: str | None = None
    is_table: bool = False
    takes_extra_columns: bool = False
    column_defaults: dict = field(default_factory=dict)
    column_units: dict = field(default_factory=dict)
    ndim: int | None = None
    max_ndim: int | None = None
    axes: tuple = ()
    default: float | list | None = None
    automatic: bool = False

    def filled(self, shape):
        """A new array of that shape filled with the default."""
        if isinstance(self.default, list):  # one value for each column
            row = [np.nan if value == "NaN" else value for value in self.default]
            return np.full(shape, np.array(tuple(row), self.dtype))
        return np.full(shape, self.default or 0, self.dtype)

    @property
    def kind(self):
        """Kind and size of an element, "f4"."""
        return self.dtype.str[1:]

    @property
    def columns(self):
        """Names of the columns of a table."""
        return self.dtype.names or ()

    def dimension_problem(self, ndim):
        """Return what is wrong with a number of dimensions, or None."""
        if self.is_table:
            return None if ndim == 1 else f"has {ndim} dimensions; a table has 1"
        if self.ndim is not None and ndim != self.ndim:
            return f"has {ndim} dimensions; expected {self.ndim}"
        if self.max_ndim is not None and ndim > self.max_ndim:
            return f"has {ndim} dimensions; expected at most {self.max_ndim}"
        return None


class Schema:
    """A compiled schema.

    Attributes
    ----------
    name : str
    keywords : dict of str to KeywordSpec
        By path ("meta.exposure.nints"), in the order of the schema.
    arrays : dict of str to ArraySpec
        By attribute name, in the order of the schema.
    cards : dict of (hdu, card) to KeywordSpec
    hdus : dict of str to ArraySpec
        By EXTNAME.
    objects : dict of str to str
        Title (possibly empty) of every inner node, by path.
    primary : str
        Name of the primary array, or "".
    paths : list of str
        Of all keywords and arrays, in the order of the schema.
    required : tuple of str
        Paths below ``meta`` that a file of the model should have.
    obligatory : list of (group, name)
        Names that a group of metadata must have to be valid.
    tree : dict
        The schema as one property tree.
    """

    def __init__(self, name, tree):
        self.name, self.tree = name, tree
        self.required = tuple(dict.fromkeys(tree.get("required", ())))
        self.keywords, self.arrays, self.objects, self.paths, self.obligatory = {}, {}, {}, [], []
        self._collect(tree, (), None)
        self.cards = {(spec.hdu, spec.card): spec for spec in self.keywords.values() if spec.card}
        self.hdus = {spec.hdu: spec for spec in self.arrays.values() if spec.hdu is not None}
        self.primary = next((n for n in ("data", "coeffs", "phot_table") if n in self.arrays), "")
        if not self.primary and self.arrays.get("dq") is not None:
            self.primary = "dq"

    def _collect(self, node, path, section):
        for name, child in node["properties"].items():
            here = (*path, name)
            dotted = ".".join(here)
            if "properties" not in child or "datatype" in child:
                self.paths.append(dotted)
            if "datatype" in child:
                self.arrays[name] = _array_spec(name, child)
            elif "properties" in child:
                self.objects[dotted] = child.get("title", "")
                self.obligatory += [(dotted, required) for required in child.get("required", ())]
                self._collect(child, here, dotted if child.get("title") else section)
            else:
                self.keywords[dotted] = KeywordSpec(
                    path=dotted,
                    card=child.get("fits_keyword"),
                    hdu=child.get("fits_hdu", PRIMARY),
                    title=child.get("title", ""),
                    section=section,
                    fragment={k: child[k] for k in ("type", "enum", "anyOf", "pattern", "items", "tag") if k in child},
                    default=child.get("default"),
                )

    @cached_property
    def known_hdus(self):
        """Names of every HDU that a keyword or an array belongs to."""
        return frozenset({PRIMARY, *self.hdus, *(hdu for hdu, _ in self.cards)})


def _array_spec(name, node):
    is_table = isinstance(node["datatype"], list)
    columns = node["datatype"] if is_table else ()
    dtype = np.dtype([_column(c) for c in columns]) if is_table else _element_dtype(node["datatype"])
    return ArraySpec(
        name=name,
        hdu=node["fits_hdu"].upper() if "fits_hdu" in node else None,
        dtype=dtype,
        title=node.get("title", ""),
        raw_kind=np.dtype(node["raw_datatype"]).str[1:] if "raw_datatype" in node else None,
        is_table=is_table,
        takes_extra_columns=is_table and (node.get("allow_extra_columns", False) or not columns),
        column_defaults={column["name"]: column["default"] for column in columns if "default" in column},
        column_units={column["name"]: column["unit"] for column in columns if "unit" in column},
        ndim=node.get("ndim"),
        max_ndim=node.get("max_ndim"),
        axes=tuple(node.get("axes", ())),
        default=node.get("default"),
        automatic=node.get("automatic", False),
    )


def _column(column):
    shape = column.get("shape", ())
    return (column["name"], _element_dtype(column["datatype"]), tuple(shape) if isinstance(shape, list) else shape)


def _element_dtype(datatype):
    """Native dtype of one element; ``[ascii, n]`` is a string of n characters."""
    if isinstance(datatype, list):
        return np.dtype(f"U{datatype[1]}")
    return np.dtype(np.bool_ if datatype == "bool8" else datatype)


def load_schema(source):
    """Return a compiled schema.

    Parameters
    ----------
    source : str, Path or dict
        Name of a schema of this package ("ramp"); a file of one's own, ending in ``.yaml``; the URI of a resource that
        is registered with the asdf library; a schema as a dict.

    Raises
    ------
    FileNotFoundError
        There is no such schema.
    SchemaError
        The file is not YAML, or what it says is no schema.
    """
    if isinstance(source, dict):
        return _compiled("a dictionary", partial(_merged, source, None))
    name = str(source)
    if "://" in name:
        return _load(_located(name, None))
    return _load(str(Path(name).absolute()) if name.endswith(_SUFFIXES) else f"{name}.yaml")


@cache
def _load(location):
    return _compiled(location, partial(_resolved, location))


def _compiled(name, tree):
    try:
        return Schema(name.removesuffix(".yaml"), tree())
    except SchemaError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise SchemaError(
            f"{name} is not a schema of a data model ({type(error).__name__}: {error}). It needs 'properties'; arrays "
            "in it have 'datatype' and 'fits_hdu'. See docs/models.md."
        ) from error


@cache
def _document(location):
    # The C loader parses the keywords ten times faster; it comes with every wheel of PyYAML.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if _is_uri(location):
        content = _resources()[location]
    else:
        content = (Path(location) if _is_own(location) else files("upramp.models.schemas") / location).read_bytes()
    try:
        return yaml.load(content, Loader=loader)
    except yaml.YAMLError as error:
        raise SchemaError(f"the schema {location} is not YAML: {error}") from error


def _is_own(location):
    """Whether a schema is a file or a resource of a user, and not one of this package."""
    return _is_uri(location) or Path(location).is_absolute()


def _is_uri(location):
    return "://" in location


def _resources():
    """What is registered with the asdf library, by URI."""
    import asdf

    return asdf.get_config().resource_manager


@cache
def _resolved(location):
    """The document as one property tree: references followed, ``allOf`` and ``keywords_of`` merged in."""
    return _merged(_document(location), location.rpartition("/")[0] if _is_own(location) else None)


def _merged(document, folder):
    merged = {"properties": {}}
    _merge(merged, document, folder)
    return merged


def _merge(target, node, folder):
    for source, paths in node.get("keywords_of", {}).items():
        for path in paths:
            _merge(target, _pick(_resolved(_located(source, folder)), ["meta", *path.split(".")]), folder)
    if "$ref" in node and not node["$ref"].startswith(_OBJECTS):
        _merge(target, _referred(node["$ref"], folder), folder)
    for part in node.get("allOf", ()):
        _merge(target, part, folder)
    for key, value in node.items():
        if key == "properties":
            properties = target.setdefault("properties", {})
            for name, child in value.items():
                _merge(properties.setdefault(name, {}), child, folder)
        elif key == "alike":
            for names, child in value.items():
                for name in names.split():
                    target.setdefault("properties", {})[name] = {"fits_keyword": name.upper(), **child}
        elif key == "enum" and isinstance(value, dict):
            target["enum"] = _referred(value["$ref"], folder)
        elif key == "required":
            target[key] = [*target.get(key, ()), *value]
        elif key not in ("allOf", "$ref", "keywords_of"):
            target[key] = value


def _located(reference, folder):
    """Where a reference to a schema leads: a file in the folder, else one of this package.

    The names that the schemas of this package have in the reference pipeline are understood too
    ("core.schema", "http://stsci.edu/schemas/jwst_datamodel/core.schema").
    """
    if folder is not None and not _is_uri(folder) and (Path(folder) / reference).is_file():
        return str(Path(folder) / reference)
    uri = f"{folder}/{reference}" if folder is not None and _is_uri(folder) and not _is_uri(reference) else reference
    if _is_uri(uri) and not uri.startswith(_PEER_SCHEMAS) and uri in _resources():
        return uri
    name = reference.rpartition("/")[2].lower()
    name = name.removesuffix(".yaml").removesuffix(".schema")
    return f"{_OTHER_NAMES.get(name, name)}.yaml"


def _referred(reference, folder):
    file_name, _, fragment = reference.partition("#/")
    location = _located(file_name, folder)
    return _document(location)[fragment] if fragment else _resolved(location)


def _pick(tree, path):
    """The tree cut down to one branch."""
    child = tree["properties"][path[0]]
    if len(path) > 1:
        child = {k: v for k, v in child.items() if k != "properties"} | _pick(child, path[1:])
    return {"properties": {path[0]: child}}
