"""refpix with convolved side pixels (SIRS) against the peer's step, on full frames of two orientations."""

import asdf
import numpy as np
import pytest

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

SHAPE = (1, 1, 2048, 2048)


def write_kernels(path, detector):
    """Coefficients that fall off with frequency and have different phases."""
    rng = np.random.default_rng(8)
    shape = (4, 2049)
    fall = 0.5 / (1 + np.arange(2049) / 60)
    gamma, zeta = (fall * (1 + 0.2 * rng.random(shape)) * np.exp(0.3j * rng.standard_normal(shape)) for _ in range(2))
    instrument = "NIRISS" if detector == "NIS" else "NIRCAM"
    meta = {
        "reftype": "sirskernel", "telescope": "JWST", "instrument": {"name": instrument}, "author": "test",
        "pedigree": "DUMMY", "description": "test", "useafter": "2022-01-01T00:00:00",
    }  # fmt: skip
    asdf.AsdfFile({"meta": meta, detector.lower(): {"gamma": gamma, "zeta": zeta}}).write_to(path)
    return str(path)


def make_ramp(model_class, instrument, detector, axes):
    rng = np.random.default_rng(4)
    data = (100 + 8 * rng.standard_normal(SHAPE)).astype(np.float32)
    data[..., ::37, :] += 400
    dq = np.full(SHAPE[2:], 2**31, np.uint32)
    dq[4:-4, 4:-4] = 0
    ramp = model_class(data)
    ramp.pixeldq, ramp.groupdq = dq, np.zeros(SHAPE, np.uint8)
    # Zeros are reads that were saturated, which reference pixels never are.
    saturated = (rng.random(data[:, 0].shape) < 0.01) & (dq == 0)
    ramp.zeroframe = np.where(saturated, 0, data[:, 0]).astype(np.float32)
    ramp.meta.instrument.name, ramp.meta.instrument.detector = instrument, detector
    ramp.meta.subarray.name = "FULL"
    for name, value in {"xstart": 1, "ystart": 1, "xsize": 2048, "ysize": 2048}.items():
        setattr(ramp.meta.subarray, name, value)
    ramp.meta.subarray.fastaxis, ramp.meta.subarray.slowaxis = axes
    exposure = ramp.meta.exposure
    exposure.noutputs, exposure.nints, exposure.ngroups, exposure.zero_frame = 4, 1, SHAPE[1], True
    exposure.type, exposure.readpatt = "NRC_IMAGE", "RAPID"
    return ramp


@pytest.mark.parametrize(("detector", "axes"), [("NRCA2", (1, -2)), ("NIS", (-2, -1))])
def test_side_pixels_are_convolved(tmp_path, detector, axes):
    from jwst.refpix.reference_pixels import correct_model
    from stdatamodels.jwst.datamodels import RampModel as PeersRamp
    from stdatamodels.jwst.datamodels import SIRSKernelModel

    from upramp.models import RampModel
    from upramp.steps import RefPixStep

    path = write_kernels(tmp_path / "kernels.asdf", detector)
    pars = {"refpix_algorithm": "sirs", "override_sirskernel": path, "sigreject": 3.5, "halfwidth": 25}
    instrument = "NIRISS" if detector == "NIS" else "NIRCAM"
    theirs = make_ramp(PeersRamp, instrument, detector, axes)
    kernels = {"refpix_algorithm": "sirs", "sirs_kernel_model": SIRSKernelModel(path)}
    kernels |= {"sigreject": 3.5, "gaussmooth": 1.0, "halfwidth": 25}
    correct_model(
        theirs, True, True, 11, 1.0, True, kernels | {"sigreject": 3.5, "gaussmooth": 1.0, "halfwidth": 25}, 3.0
    )
    ramp = make_ramp(RampModel, instrument, detector, axes)
    ours = RefPixStep(**pars).run(ramp)
    assert ours.meta.cal_step.refpix == "COMPLETE"
    assert ours.meta.ref_file.sirskernel.name == path
    for name in ("data", "zeroframe"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-4, err_msg=name)
    median = RefPixStep().run(ramp)
    assert np.abs(median.data - ours.data).max() > 1


def test_other_exposures_go_through_the_running_median(tmp_path):
    from upramp.models import RampModel
    from upramp.steps import RefPixStep

    ramp = make_ramp(RampModel, "NIRCAM", "NRCA2", (1, -2))
    path = write_kernels(tmp_path / "kernels.asdf", "NRCB1")
    expected = RefPixStep().run(ramp).data
    for reference in (path, "N/A"):
        found = RefPixStep(refpix_algorithm="sirs", override_sirskernel=reference).run(ramp)
        np.testing.assert_array_equal(found.data, expected)
        assert found.meta.cal_step.refpix == "COMPLETE"
