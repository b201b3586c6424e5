"""Checks of a whole model: its values, the shapes of its arrays, what its files should have."""

import warnings

from upramp.errors import MissingKeywordError, ShapeError
from upramp.models._metadata import ValidationWarning, invalid_metadata

__all__ = ["Checking"]


class Checking:
    """Checks of the values and arrays of a model; a base of the models."""

    def validate(self):
        """Check that the model can be saved, and that the metadata are there that its files should have.

        Raises
        ------
        ShapeError
            Arrays of the model disagree in the length of an axis.
        InvalidMetadataError, MissingKeywordError
            With `strict_validation`: values are not what the schema permits (every one is named); metadata that it
            requires are missing. Else these are warnings.
        """
        problem = self._invalid_values()
        if problem and self._switches.strict_validation:
            raise invalid_metadata(problem)
        if problem:
            warnings.warn(problem, ValidationWarning, stacklevel=2)
        self.check_shapes({})
        self._check_required()

    def _check_required(self):
        missing = [path for path in self._schema.required if not self._is_stored(f"meta.{path}")]
        if missing:
            # Programs that expect this warning know it by its first words.
            problem = f"Model.meta is missing values for {missing}: {self!r}"
            if self._switches.strict_validation:
                raise MissingKeywordError(problem)
            warnings.warn(problem, ValidationWarning, stacklevel=3)

    def check_contents(self):
        """Raise InvalidMetadataError or ShapeError unless values and shapes are what the schema permits."""
        problem = self._invalid_values()
        if problem:
            raise invalid_metadata(problem)
        self.check_shapes({})

    def _invalid_values(self):
        problems = []
        for path, value in self._values.items():
            spec = self._schema.keywords.get(path)
            problem = spec and spec.problem(value)
            if problem:
                problems.append(f"{path}: {problem}")
        for group, name in self._schema.obligatory:
            if not self._is_stored(f"{group}.{name}"):
                problems.append(f"{group}: {name!r} is a required property")
        return f"{self!r} has invalid metadata: " + "; ".join(problems) if problems else None

    def check_shapes(self, shapes):
        """Raise ShapeError unless the arrays, with others of these shapes, agree in every axis."""
        self._check_axes({name: slot.shape for name, slot in self._slots.items()} | dict(shapes))

    def _check_axes(self, shapes):
        lengths = {}
        for name, shape in shapes.items():
            axes = self._array_spec(name).axes
            if len(axes) != len(shape):
                continue
            for axis, length in zip(axes, shape, strict=True):
                first, expected = lengths.setdefault(axis, (name, length))
                if length != expected:
                    raise ShapeError(
                        f"{type(self).__name__}: {name} has shape {shape}, that is {length} along the {axis} axis; "
                        f"{first} has {expected} there"
                    )
