"""The reference for interference in MIRI data: an ASDF file with waves, and the timing of subarrays."""

import copy

from upramp.errors import FileFormatError
from upramp.models.classes import ReferenceModel

__all__ = ["EmiModel"]

_TREES = ("frequencies", "subarray_cases")


class EmiModel(ReferenceModel):
    """Waves of interference by name, and which of them are in which subarray.

    Attributes
    ----------
    frequencies : dict
        ``{name: {"frequency": float [Hz], "phase_amplitudes": (n,) array}}``.
    subarray_cases : dict
        ``{subarray: {"rowclocks": int, "frameclocks": int, "freqs": {"FAST": [names], "SLOW": {detector: [names]}}}}``.
    """

    schema_name = "emi"
    writes_asdf = True

    def __init__(self, init=None, **arrays):
        # Not among the metadata by path, for names of frequencies may have dots.
        self._trees = {name: {} for name in _TREES}
        super().__init__(init, **arrays)

    def check(self):
        """Raise FileFormatError unless both parts are there."""
        missing = [name for name in _TREES if not isinstance(self._trees[name], dict) or not self._trees[name]]
        if missing:
            raise FileFormatError(
                f"{self.meta.filename or 'the model'} has no {' and no '.join(missing)}; expected a reference of the "
                "type EMICORR"
            )

    def _adopt(self, other):
        super()._adopt(other)
        if isinstance(other, EmiModel):
            self._trees = other._trees

    def _take(self, path, value, *, absent=False):
        if path in _TREES:
            self._trees[path] = value
        else:
            super()._take(path, value, absent=absent)

    def _tree(self):
        return super()._tree() | self._trees

    @property
    def frequencies(self):
        """Waves by name."""
        return self._trees["frequencies"]

    @frequencies.setter
    def frequencies(self, waves):
        self._trees["frequencies"] = dict(waves)

    @property
    def subarray_cases(self):
        """Timing and names of waves by subarray."""
        return self._trees["subarray_cases"]

    @subarray_cases.setter
    def subarray_cases(self, cases):
        self._trees["subarray_cases"] = dict(cases)

    def copy(self, memo=None):
        """An independent model."""
        new = super().copy()
        new._trees = copy.deepcopy(self._trees)
        return new

    def prepare_to_save(self, path):
        """Give the metadata the values that go with saving under a name, and check the model."""
        self.meta.reftype, self.meta.instrument.name = "emicorr", "MIRI"
        super().prepare_to_save(path)
