"""The fits of interference on arrays, against the functions of the peer: modes of readout, wave lengths, parameters."""

import logging
import warnings

import numpy as np
import pytest
from tests.reference.emicorr import clocks

from upramp.kernels import measure_and_subtract_emi, subtract_emi
from upramp.kernels.emicorr import Readout, Wave
from upramp.kernels.emicorr_sequential import integrations_of_cycles

theirs = pytest.importorskip("jwst.emicorr.emicorr", reason="the peer is not installed")

pytestmark = pytest.mark.parity


def exposure(shape, row, sample, reset, frequency, seed=0):
    """Ramps with interference, some pixels that jump, and some flags."""
    rng = np.random.default_rng(seed)
    ni, ng, ny, nx = shape
    ramps = rng.normal(8000, 300, (1, 1, ny, nx)) + np.arange(ng)[:, None, None] * rng.uniform(0, 30, (ni, 1, ny, nx))
    ramps += rng.normal(0, 4, shape)
    ramps[:, ng // 2 :, rng.random((ny, nx)) < 0.03] += 2000
    phase = clocks(shape, row, sample, reset) * 10e-6 * frequency + rng.random()
    ramps += np.repeat(7 * np.sin(2 * np.pi * phase) + 2 * np.sin(4 * np.pi * phase), 4, axis=-1)
    return ramps.astype(np.float32), (rng.random((ny, nx)) < 0.02).astype(np.uint32)


def wave(n):
    """A wave of n values."""
    phase = 2 * np.pi * (np.arange(n) + 0.5) / n
    return (np.sin(phase) + 0.3 * np.sin(2 * phase)).astype(np.float32)


# name: shape; clocks of a row, a sample and a reset; frequency; values of the wave; every integration by itself
JOINT = {
    "FASTR1": ((3, 6, 64, 72), 28, 1, 8512, 390.625, 500, False),
    "separately": ((3, 7, 64, 72), 28, 1, 8512, 218.52055, 250, True),
    "SLOW": ((2, 5, 40, 1032), 2333, 9, 0, 10.039216, 500, False),
    "three groups": ((1, 3, 128, 136), 44, 1, 11904, 164.9305, 101, False),
    "many integrations": ((20, 4, 64, 72), 28, 1, 8512, 10.039216, 7, False),
}


@pytest.mark.parametrize("case", JOINT)
def test_joint(case):
    shape, row, sample, reset, frequency, n, separately = JOINT[case]
    data, flags = exposure(shape, row, sample, reset, frequency)
    period = (1.0 / frequency) / 10.0e-6
    values = wave(n)
    expected = theirs.emicorr_refwave(
        data.copy(), flags, values, sample, row, reset, period, fit_ints_separately=separately
    )
    found, _ = subtract_emi(data, flags, [Wave(frequency, values)], Readout(row, sample, reset), separately=separately)
    assert np.abs(expected - data).max() > 3
    # 1e-4 of the noise is less than a step of float32 at this level: nearly all samples are the same number.
    assert (found == expected).mean() > 0.9999
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


SEQUENTIAL = {
    "by itself": {},
    "reference": {"reference": 500},
    "not scaled": {"reference": 250, "scale_reference": False},
    "SLOW": {
        "row": 2333,
        "sample": 9,
        "reset": 0,
        "readpatt": "SLOW",
        "shape": (1, 8, 20, 1032),
        "frequency": 10.039216,
    },
    "full width": {"shape": (1, 6, 20, 1032), "row": 271, "reset": 277504},
    "all integrations, few bins": {"use_n_cycles": None, "nbins": 30},
    "some integrations": {"nints_to_phase": 2, "nbins": 600},
    "three groups": {"shape": (2, 3, 64, 72)},
    "four groups": {"shape": (2, 4, 64, 72)},
    "empty bins": {"shape": (1, 12, 8, 16), "frequency": 10.0},
    "one bad sample": {"bad": (0, 0, 5, 6)},
}


@pytest.mark.parametrize("case", SEQUENTIAL)
def test_sequential(case, monkeypatch):
    values = {
        "shape": (3, 12, 64, 72), "row": 28, "sample": 1, "reset": 8512, "readpatt": "FASTR1", "frequency": 218.52055,
        "reference": None, "scale_reference": True, "use_n_cycles": 3, "nints_to_phase": None, "nbins": None,
        "bad": None,
    } | SEQUENTIAL[case]  # fmt: skip
    logging.getLogger("jwst").setLevel(logging.CRITICAL)
    from stdatamodels.jwst.datamodels import RampModel

    shape, row, sample, frequency = (values[key] for key in ("shape", "row", "sample", "frequency"))
    data, _ = exposure(shape, row, sample, values["reset"], frequency)
    if values["bad"]:
        data[values["bad"]] = np.nan
    model = RampModel(data=data.copy())
    model.meta.subarray.xsize, model.meta.subarray.xstart = shape[-1], 1
    model.meta.exposure.readpatt = values["readpatt"]
    frame_clocks = values["reset"] or 2388992
    references = [] if values["reference"] is None else [wave(values["reference"])]
    keywords = {key: values[key] for key in ("nints_to_phase", "nbins", "scale_reference", "use_n_cycles")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs._run_sequential_algorithm(
            model, ["wave"], [frequency], references, sample, row, frame_clocks, **keywords
        ).data
    n_phased = values["nints_to_phase"]
    if n_phased is None and values["use_n_cycles"] is not None:
        n_phased = integrations_of_cycles(values["use_n_cycles"], frequency, frame_clocks, shape[1])
    found, _ = measure_and_subtract_emi(
        data,
        [frequency],
        Readout(row, sample, values["reset"]),
        references=references or None,
        n_phased=n_phased,
        n_bins=values["nbins"],
        scale_reference=values["scale_reference"],
        full_width=shape[-1] == 1032,
    )
    assert (found == expected)[np.isfinite(expected)].mean() > 0.9999
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
