"""Real files, and a small exposure of our own."""

from pathlib import Path

import numpy as np
import pytest

from upramp import models

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def nircam_uncal():
    """Headers of a flight exposure of NIRCam."""
    return DATA / "jw01075001001_03105_00009_nrca2_uncal_HEADERONLY.fits"


@pytest.fixture
def fgs_uncal():
    """A flight exposure of the guider, (6, 2, 128, 128)."""
    return DATA / "jw01019001001_gs-acq1_2022117003102_uncal.fits"


@pytest.fixture
def superbias_file():
    """A superbias, (32, 512)."""
    return DATA / "jwst_nirspec_superbias_0075.fits"


@pytest.fixture
def dark_file():
    """A dark, (2, 32, 512), with HDUs and cards of its makers."""
    return DATA / "jwst_nirspec_dark_0046_cut.fits"


@pytest.fixture
def ipc_file():
    """An IPC kernel, (3, 3)."""
    return DATA / "jwst_nirspec_ipc_with_asdf_extension.fits"


@pytest.fixture
def uncal(tmp_path):
    """A raw exposure (2, 3, 4, 5) with tables, written by our models."""
    rng = np.random.default_rng(1)
    model = models.Level1bModel(rng.integers(0, 2**16, (2, 3, 4, 5)).astype(np.uint16))
    model.zeroframe = rng.integers(0, 2**16, (2, 4, 5))
    model.meta.telescope = "JWST"
    model.meta.instrument = {"name": "NIRCAM", "detector": "NRCA1", "channel": "SHORT", "module": "A"}
    model.meta.instrument.filter, model.meta.instrument.pupil = "F200W", "CLEAR"
    model.meta.observation = {"date": "2023-01-02", "time": "03:04:05.000"}
    model.meta.exposure = {"type": "NRC_IMAGE", "readpatt": "RAPID", "nints": 2, "ngroups": 3, "nframes": 1}
    model.meta.exposure.groupgap, model.meta.exposure.group_time = 0, 2
    model.meta.subarray = {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": 5, "ysize": 4}
    model.meta.subarray.fastaxis, model.meta.subarray.slowaxis = -1, 2
    model.meta.bunit_data = "DN"
    times = np.zeros(2, model.get_dtype("int_times"))
    times["integration_number"] = [1, 2]
    times["int_mid_MJD_UTC"] = [59000.25, 59000.5]
    model.int_times = times
    group = np.zeros(6, model.get_dtype("group"))
    group["group_end_time"] = "2023-01-02T03:04:05.678"
    group["end_day"] = -7
    model.group = group
    return Path(model.save(tmp_path / "small_uncal.fits"))
