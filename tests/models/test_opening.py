"""Which class a file is opened as."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from upramp import models


def write(path, shape=None, dq=False, **cards):
    hdus = [fits.PrimaryHDU()]
    hdus[0].header.update(cards)
    if shape is not None:
        hdus.append(fits.ImageHDU(np.zeros(shape, "f4"), name="SCI"))
    if dq:
        hdus.append(fits.ImageHDU(np.zeros(shape, "u4"), name="DQ"))
    fits.HDUList(hdus).writeto(path)
    return path


def test_by_datamodl(uncal, superbias_file):
    assert type(models.open(uncal)) is models.Level1bModel
    assert type(models.open(str(superbias_file))) is models.SuperBiasModel


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ({"shape": (1, 2, 3, 4)}, models.RampModel),
        ({"shape": (3, 4)}, models.ImageModel),
        ({"shape": (2, 3, 4), "DATAMODL": "NoSuchModel"}, models.CubeModel),
        ({}, models.DataModel),
        ({"shape": (3, 4), "REFTYPE": "gain"}, models.GainModel),
        ({"shape": (3, 4), "REFTYPE": "AREA"}, models.ReferenceImageModel),
    ],
)
def test_by_contents(tmp_path, contents, expected):
    path = write(tmp_path / "x.fits", **contents)
    with pytest.warns(models.NoTypeWarning, match=r"x\.fits: DATAMODL is"):
        model = models.open(path)
    assert type(model) is expected
    with pytest.raises(TypeError, match="guessing was not allowed"):
        models.open(path, guess=False)


def test_undetermined(tmp_path):
    with pytest.raises(TypeError, match="SCI array of 5 dimensions"):
        models.open(write(tmp_path / "x.fits", (1, 1, 2, 3, 4)))


@pytest.mark.parametrize("init", [None, (3, 4), np.zeros((3, 4)), [1], {}])
def test_not_a_file(init):
    with pytest.raises(TypeError, match="expected a file name or a model"):
        models.open(init)


def test_wrong_names(tmp_path):
    with pytest.raises(ValueError, match="does not have an extension"):
        models.open(tmp_path / "foo")
    with pytest.raises(ValueError, match="Unrecognized file type"):
        models.open(tmp_path / "foo.txt")


def test_slow_packages_are_not_imported_to_open_and_save(uncal):
    code = f"""
import sys
from upramp import models
model = models.RampModel({str(uncal)!r})
model.save({str(uncal.with_name("x.fits"))!r})
print([name for name in ("asdf", "jsonschema", "astropy.table", "numba") if name in sys.modules])
"""
    # errors.py takes its base from the kernels' layout checks, which are free of numba.
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
