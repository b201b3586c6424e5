"""The corrections before the jump step against the peer's functions on the same arrays."""

import numpy as np
import pytest

from upramp.kernels.dark import dark_plan, resample_dark, subtract_dark
from upramp.kernels.ipc import correct_ipc, science_limits
from upramp.kernels.linearity import correct_linearity
from upramp.kernels.read_level_linearity import correct_linearity_of_reads
from upramp.kernels.refpix import ORIENTATION, correct_reference_pixels
from upramp.kernels.saturation import flag_saturation
from upramp.kernels.superbias import subtract_superbias

pytest.importorskip("jwst", reason="the peer is not installed")

from jwst.ipc import ipc_corr
from jwst.refpix import reference_pixels
from jwst.superbias import bias_sub
from stcal.dark_current import dark_class, dark_sub
from stcal.linearity.linearity import linearity_correction
from stcal.saturation.saturation import flag_saturated_pixels
from stdatamodels.jwst.datamodels import RampModel, SuperBiasModel, dqflags

pytestmark = pytest.mark.parity


def ramp(rng, ny=13, nx=17, ngroup=6):
    data = rng.normal(9000, 4000, (2, ngroup, ny, nx)).cumsum(axis=1).astype(np.float32)
    data[rng.random(data.shape) < 0.01] = np.nan
    data[rng.random(data.shape) < 0.02] = 0
    gdq = np.where(rng.random(data.shape) < 0.03, rng.integers(0, 256, data.shape), 0).astype(np.uint8)
    pdq = rng.integers(0, 2**32, (ny, nx), dtype=np.uint32)
    zeroframe = rng.normal(30000, 15000, (2, ny, nx)).astype(np.float32)
    zeroframe[rng.random(zeroframe.shape) < 0.05] = 0
    return data, gdq, pdq, zeroframe


@pytest.mark.parametrize("seed", range(24))
def test_saturation(seed):
    rng = np.random.default_rng(seed)
    data, gdq, pdq, zeroframe = ramp(rng, ngroup=1 + seed % 6)
    nframes, grow, use_read_pattern = int(rng.integers(1, 9)), seed % 3, seed % 5 > 0
    threshold = rng.normal(45000, 8000, pdq.shape).astype(np.float32)
    threshold[rng.random(pdq.shape) < 0.03] = np.nan
    threshold_dq = np.where(rng.random(pdq.shape) < 0.05, 2**21 | 3, 0).astype(np.uint32)
    bias = rng.normal(9000, 2000, pdq.shape).astype(np.float32) if seed % 4 else None
    reads = [[g * nframes + k + 1 for k in range(nframes)] for g in range(data.shape[1])]
    ours = flag_saturation(data, gdq, pdq, threshold, threshold_dq, bias, grow, nframes, use_read_pattern, zeroframe)
    with np.errstate(invalid="ignore"):
        theirs = flag_saturated_pixels(
            *(data.copy(), gdq.copy(), pdq.copy(), threshold.copy(), threshold_dq.copy(), 65535.0, dqflags.pixel),
            n_pix_grow_sat=grow,
            zframe=zeroframe.copy(),
            read_pattern=reads if use_read_pattern else None,
            bias=bias,
        )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(8))
def test_linearity(seed):
    rng = np.random.default_rng(seed)
    data, gdq, pdq, zeroframe = ramp(rng)
    ncoeff = 2 + seed % 5
    coeffs = rng.normal(0, 1, (ncoeff, *pdq.shape)) * 10.0 ** (-5 * np.arange(ncoeff))[:, None, None]
    coeffs = coeffs.astype(np.float32)
    coeffs[rng.random(coeffs.shape) < 0.01] = np.nan
    coeffs[1][rng.random(pdq.shape) < 0.03] = 0
    lin_dq = np.where(rng.random(pdq.shape) < 0.05, 2**20 | 3, 1).astype(np.uint32)
    ours = correct_linearity(data, gdq, pdq, coeffs, lin_dq, zeroframe)
    copies = data.copy(), gdq, pdq.copy(), coeffs.copy(), lin_dq.copy(), dqflags.pixel
    for a, b in zip(ours, linearity_correction(*copies, zframe=zeroframe.copy()), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(8))
def test_linearity_of_reads(seed):
    rng = np.random.default_rng(seed)
    data, gdq, pdq, zeroframe = ramp(rng, ngroup=2 + seed % 5)
    nframes = 1 + seed
    planes = []
    for ncoeff in (2 + seed % 5, 7 - seed % 3):
        coeffs = rng.normal(0, 1, (ncoeff, *pdq.shape)) * 10.0 ** (-6 * np.arange(ncoeff))[:, None, None]
        coeffs[1] += 1
        coeffs[rng.random(coeffs.shape) < 0.01] = np.nan
        coeffs[1][rng.random(pdq.shape) < 0.03] = 0
        planes.append(coeffs.astype(np.float32))
    lin_dq = np.where(rng.random(pdq.shape) < 0.05, 2**20 | 3, 1).astype(np.uint32)
    ours = correct_linearity_of_reads(data, gdq, pdq, *planes, lin_dq, nframes, zeroframe)
    coeffs, inverse = (array.copy() for array in planes)
    reads = [[g * nframes + k + 1 for k in range(nframes)] for g in range(data.shape[1])]
    theirs = linearity_correction(
        *(data.copy(), gdq, pdq.copy(), coeffs, lin_dq.copy(), dqflags.pixel),
        zframe=zeroframe.copy(),
        ilin_coeffs=inverse,
        read_pattern=reads,
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(40))
def test_dark(seed):
    rng = np.random.default_rng(seed)
    data, _, pdq, _ = ramp(rng, ngroup=1 + seed % 5)
    nframes, groupgap, k = (int(n) for n in rng.integers([1, 0, 2], [5, 3, 30]))
    pattern = ((1, 0), (nframes, groupgap), (1, 0), (5, 0))[seed % 4]
    dark = rng.normal(1, 10, (k, *pdq.shape)).astype(np.float32)
    dark[rng.random(dark.shape) < 0.05] = np.nan
    dark_dq = rng.integers(0, 2**32, pdq.shape, dtype=np.uint32)
    science, reference = dark_class.ScienceData(), dark_class.DarkData()
    science.data, science.pixeldq, science.exp_nframes, science.exp_groupgap = data.copy(), pdq, nframes, groupgap
    reference.data, reference.groupdq = dark.copy(), dark_dq
    reference.exp_nframes, reference.exp_groupgap, reference.exp_ngroups = *pattern, k
    with np.errstate(invalid="ignore"):
        theirs, averaged = dark_sub.do_correction_data(science, reference)
    ours = subtract_dark(data, pdq, dark, dark_dq, nframes, groupgap, *pattern)
    assert ours.applied == (theirs.cal_step == "COMPLETE")
    np.testing.assert_array_equal(ours.pixeldq, theirs.pixeldq)
    plan = dark_plan(data.shape[1], nframes, groupgap, k, *pattern)
    if averaged is not None:
        np.testing.assert_array_equal(resample_dark(dark, plan), averaged.data)
    # Extrapolated and not averaged: the peer subtracts in float64.
    rounding = 1e-5 if plan is not None and plan.extrapolated and averaged is None else 0
    np.testing.assert_allclose(ours.data, theirs.data, rtol=0.6e-7 if rounding else 0, atol=rounding)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("four_d", [False, True])
def test_ipc(size, four_d):
    rng = np.random.default_rng(size)
    data = rng.normal(0, 1, (1, 2, 20, 24)).astype(np.float32)
    data[0, 1, 10, 12] = np.nan
    ipc_kernel = rng.normal(0, 1, (size, size, 20, 24) if four_d else (size, size)).astype(np.float32)
    model = RampModel(data.shape)
    subarray = model.meta.subarray
    subarray.xstart, subarray.ystart, subarray.xsize, subarray.ysize = 2, 2027, 24, 20
    model.meta.instrument.name = "NIRCAM"
    theirs = data.copy()
    for frame in theirs[0]:
        ipc_corr.ipc_convolve(frame, ipc_kernel, ipc_corr.get_num_ref_pixels(model))
    np.testing.assert_array_equal(correct_ipc(data, ipc_kernel, science_limits(2, 2027, 24, 20)), theirs)


def test_superbias():
    rng = np.random.default_rng(5)
    data, gdq, pdq, zeroframe = ramp(rng)
    bias = rng.normal(9000, 100, pdq.shape).astype(np.float32)
    bias[rng.random(pdq.shape) < 0.05] = np.nan
    bias_dq = rng.integers(0, 2**32, pdq.shape, dtype=np.uint32)
    ours = subtract_superbias(data, pdq, bias, bias_dq, zeroframe)
    model = ramp_model(data, pdq, zeroframe)
    model.groupdq = gdq
    reference = SuperBiasModel(data=np.nan_to_num(bias, nan=0.0), dq=bias_dq)
    theirs = bias_sub.subtract_bias(model, reference)
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_array_equal(ours.pixeldq, theirs.pixeldq)
    np.testing.assert_array_equal(ours.zeroframe, theirs.zeroframe)


def ramp_model(data, pixeldq, zeroframe):
    model = RampModel()
    model.data, model.pixeldq, model.zeroframe = data.copy(), pixeldq.copy(), zeroframe.copy()
    model.groupdq = np.zeros(data.shape, np.uint8)
    model.meta.exposure.zero_frame = True
    return model


REFPIX_CASES = [
    # detector, xstart, ystart, nx, ny, amplifiers, name, parameters that differ from the defaults
    ("NRCA1", 1, 1, 2048, 2048, 4, "FULL", {}),
    ("NIS", 1, 1, 2048, 2048, 1, "FULL", {}),
    ("NRCA1", 1, 1985, 2048, 64, 4, "SUBGRISM64", {"side_smoothing_length": 6, "siglimit": 2.0}),
    ("NRCA2", 1, 1985, 2048, 64, 4, "SUBGRISM64", {"side_smoothing_length": 6, "side_gain": 0.5}),
    ("NRCA4", 1049, 985, 1000, 64, 4, "SUBGRISM64", {"odd_even_columns": False}),
    ("NIS", 1, 1, 64, 2048, 4, "SUBSTRIP96", {"use_side_ref_pixels": False}),
    ("NRCA3", 1, 1985, 64, 64, 1, "SUB64P", {}),
    ("NRS1", 101, 985, 32, 512, 1, "SUB32", {}),
    ("NIS", 1, 1953, 2048, 96, 1, "SUBSTRIP96", {"odd_even_columns": False}),
    ("GUIDER2", 4, 2, 63, 64, 1, "SUB128LL", {}),
]


@pytest.mark.parametrize("case", REFPIX_CASES, ids=lambda case: f"{case[0]}-{case[4]}x{case[3]}-{case[5]}")
def test_refpix(case):
    detector, xstart, ystart, nx, ny, noutputs, name, changed = case
    rng = np.random.default_rng(6)
    data = rng.normal(100, 8, (1, 2, ny, nx)).astype(np.float32)
    data += rng.normal(0, 20, (1, 2, 1, 1)).astype(np.float32)
    data[rng.random(data.shape) < 0.01] *= 7
    pixeldq = np.full((2048, 2048), 2**31, np.uint32)
    pixeldq[4:-4, 4:-4] = 0
    pixeldq = pixeldq[ystart - 1 :, xstart - 1 :][:ny, :nx].copy()
    pixeldq[rng.random(pixeldq.shape) < 0.05] |= 1
    data[0, 0, (pixeldq & 1) > 0] = np.nan
    zeroframe = np.nan_to_num(2 * data[:, 1])
    zeroframe[rng.random(zeroframe.shape) < 0.05] = 0

    model = ramp_model(data, pixeldq, zeroframe)
    subarray, exposure = model.meta.subarray, model.meta.exposure
    model.meta.instrument.detector = detector
    model.meta.instrument.name = {"NRC": "NIRCAM", "NIS": "NIRISS", "NRS": "NIRSPEC", "GUI": "FGS"}[detector[:3]]
    subarray.xstart, subarray.ystart, subarray.xsize, subarray.ysize = xstart, ystart, nx, ny
    subarray.name, exposure.noutputs, exposure.readpatt = name, noutputs, "RAPID"
    subarray.fastaxis, subarray.slowaxis = ORIENTATION[detector]
    parameters = {
        "odd_even_columns": True,
        "use_side_ref_pixels": True,
        "side_smoothing_length": 11,
        "side_gain": 1.0,
        "siglimit": 3.0,
    } | changed
    sirs = {"refpix_algorithm": "median", "sirs_kernel_model": None}
    sirs |= {"sigreject": 4.0, "gaussmooth": 1.0, "halfwidth": 30}
    status = reference_pixels.correct_model(
        model,
        *[parameters[key] for key in list(parameters)[:4]],
        odd_even_rows=True,
        conv_kernel_params=sirs,
        siglimit=parameters["siglimit"],
    )
    assert status == reference_pixels.REFPIX_OK
    ours = correct_reference_pixels(
        data, pixeldq, detector, xstart, ystart, noutputs, name, zeroframe=zeroframe, **parameters
    )
    # The peer computes the first group in float32 and, with the side pixels, all others in float64.
    exact = noutputs == 4 and parameters["use_side_ref_pixels"]
    np.testing.assert_allclose(ours.data[:, 0], model.data[:, 0], rtol=2e-7, atol=2e-4)
    np.testing.assert_allclose(ours.data[:, 1], model.data[:, 1], rtol=2e-7, atol=1e-6 if exact else 2e-4)
    np.testing.assert_allclose(ours.zeroframe, model.zeroframe, rtol=2e-7, atol=1e-6 if exact else 2e-4)
