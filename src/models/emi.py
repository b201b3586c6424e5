"""The reference for interference in MIRI data: an ASDF file with waves, and the timing of subarrays."""

import copy
import io
from pathlib import Path

import numpy as np

from upramp.errors import FileFormatError
from upramp.models._atomic import replacing
from upramp.models._fits_file import FitsFile
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

    Parameters
    ----------
    init : str, Path, dict, EmiModel or None
        An ASDF file, or a FITS file with an ASDF extension; a tree of metadata.

    Raises
    ------
    FileFormatError
        The file is not ASDF, or lacks one of the two.
    """

    schema_name = "emi"

    def __init__(self, init=None, **arrays):
        self._trees = {name: {} for name in _TREES}
        super().__init__(init, **arrays)

    def _initialise(self, init):
        if isinstance(init, (str, Path)):
            self._read(Path(init))
            return
        if isinstance(init, EmiModel):
            self._trees = init._trees
        super()._initialise(init)

    def _read(self, path):
        import asdf

        source = path
        if path.name.endswith((".fits", ".fits.gz")):
            hdu = FitsFile(path).find("ASDF")
            if hdu is None:
                raise FileFormatError(f"{path} has no ASDF extension; expected a reference of the type EMICORR")
            source = io.BytesIO(bytes(hdu.data_bytes))
        try:
            with asdf.open(source, memmap=False, lazy_load=False) as file:
                tree = copy.deepcopy(dict(file.tree))
        except (ValueError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise FileFormatError(f"{path} is not an ASDF file: {error}") from error
        missing = [name for name in _TREES if not isinstance(tree.get(name), dict)]
        if missing:
            raise FileFormatError(f"{path} has no {' and no '.join(missing)}; expected a reference of the type EMICORR")
        for name in _TREES:
            self._trees[name] = tree[name]
        if isinstance(tree.get("meta"), dict):
            self.update({"meta": tree["meta"]})
        self._values["meta.filename"] = path.name

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

    def copy(self):
        """An independent model."""
        new = super().copy()
        new._trees = copy.deepcopy(self._trees)
        return new

    def save(self, path, dir_path=None, overwrite=True):
        """Write an ASDF file, which appears when it is complete.

        Parameters
        ----------
        path : str or Path
            Name ending in ``.asdf``.
        dir_path : str or Path, optional
            Folder, instead of that of `path`.
        overwrite : bool
            Whether a file of the name may be replaced.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            The name does not end in ``.asdf``.
        FileExistsError
            `overwrite` is False and there is a file of the name.
        """
        import asdf

        path = Path(path) if dir_path is None else Path(dir_path, Path(path).name)
        if path.suffix != ".asdf":
            raise ValueError(f"unknown file type {path.suffix!r} of {path}; this reference is saved as .asdf")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
        self.meta.reftype, self.meta.instrument.name = "emicorr", "MIRI"
        self.prepare_to_save(path)
        tree = {"meta": self.meta.instance, **self._trees}
        with replacing(path) as temporary:
            asdf.AsdfFile(_plain(tree)).write_to(temporary)
        return path


def _plain(value):
    """A tree of what ASDF writes without tags: numbers of numpy as plain ones, arrays as they are."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
