"""The reference for the SIRS correction of side reference pixels: an ASDF file with coefficients by detector."""

import copy

from upramp.models.classes import ReferenceModel

__all__ = ["SIRSKernelModel"]


class SIRSKernelModel(ReferenceModel):
    """Fourier coefficients of convolution kernels, by detector.

    Attributes
    ----------
    coefficients : dict
        ``{detector in small letters: {"gamma": (4, n) complex, "zeta": (4, n) complex}}`` for the left and the right
        side pixels and the four amplifiers.
    """

    schema_name = "sirskernel"
    writes_asdf = True

    def __init__(self, init=None, **arrays):
        self._coefficients = {}
        super().__init__(init, **arrays)

    def _adopt(self, other):
        super()._adopt(other)
        if isinstance(other, SIRSKernelModel):
            self._coefficients = other._coefficients

    def _take(self, path, value, *, absent=False):
        if isinstance(value, dict) and {"gamma", "zeta"} <= value.keys():
            self._coefficients[path.lower()] = value
        else:
            super()._take(path, value, absent=absent)

    def _tree(self):
        return super()._tree() | self._coefficients

    @property
    def coefficients(self):
        """Coefficients by detector."""
        return self._coefficients

    @coefficients.setter
    def coefficients(self, coefficients):
        self._coefficients = {name.lower(): dict(value) for name, value in coefficients.items()}

    def copy(self, memo=None):
        """An independent model."""
        new = super().copy()
        new._coefficients = copy.deepcopy(self._coefficients)
        return new

    def prepare_to_save(self, path):
        """Give the metadata the values that go with saving under a name, and check the model."""
        self.meta.reftype = "sirskernel"
        super().prepare_to_save(path)
