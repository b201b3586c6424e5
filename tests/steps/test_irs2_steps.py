"""IRS2 readouts that cannot be calibrated: the steps say why."""

import numpy as np
import pytest

from upramp.errors import ReferenceFileError, ShapeError, UnsupportedModeError
from upramp.models import IPCModel, IRS2Model, LinearityModel, RampModel, SaturationModel
from upramp.steps import IPCStep, LinearityStep, RefPixStep, SaturationStep

SCIENCE = (2048, 2048)


def readout(detector="NRS1", nrs_normal=16, nrs_reference=4):
    """One group without signal."""
    ramp = RampModel(data=np.zeros((1, 1, 3200, 2048), np.float32))
    ramp.meta.instrument.name, ramp.meta.instrument.detector = "NIRSPEC", detector
    ramp.meta.exposure.nrs_normal, ramp.meta.exposure.nrs_reference = nrs_normal, nrs_reference
    ramp.meta.exposure.nframes = 1
    ramp.meta.subarray.xstart, ramp.meta.subarray.ystart = 1, 1
    ramp.meta.subarray.xsize, ramp.meta.subarray.ysize = SCIENCE
    return ramp


def reference(rows, pairs=()):
    names = [f"{kind}_{sector}" for kind in ("alpha", "beta") for sector in range(4)]
    model = IRS2Model()
    model.irs2_table = np.zeros(rows, [(name, np.float32) for name in names])
    model.dq_table = np.array(list(pairs), [("output", np.uint16), ("odd_even", np.uint16), ("mask", np.uint32)])
    return model


def test_without_reference_refpix_is_skipped_and_the_next_step_says_what_is_missing():
    ramp = RefPixStep(override_refpix="N/A").run(readout())
    assert ramp.meta.cal_step.refpix == "SKIPPED" and ramp.shape == (1, 1, 3200, 2048)
    coefficients = np.zeros((2, *SCIENCE), np.float32)
    coefficients[1] = 1
    with pytest.raises(ShapeError, match="has to pass refpix"):
        LinearityStep(override_linearity=LinearityModel(coeffs=coefficients)).run(ramp)


def test_refpix_leaves_the_science_pixels():
    ramp = readout("NRS2")
    ramp.pixeldq[3199 - 648, 3] = 1 << 17
    result = RefPixStep(override_refpix=reference(2 * 712 * 2048, [(1, 2, 1)])).run(ramp)
    assert result.meta.cal_step.refpix == "COMPLETE"
    assert result.shape == (1, 1, *SCIENCE) and result.groupdq.shape == result.shape
    assert result.pixeldq.shape == SCIENCE and not result.pixeldq.any()
    assert ramp.shape == (1, 1, 3200, 2048)


def test_unknown_detector_and_rhythm():
    threshold = SaturationModel(data=np.full(SCIENCE, 5e4, np.float32))
    step = SaturationStep(override_saturation=threshold, override_superbias="N/A")
    with pytest.raises(UnsupportedModeError, match="NRS1 or NRS2"):
        step.run(readout(detector="NIS"))
    with pytest.raises(UnsupportedModeError, match="32 and 8"):
        step.run(readout(nrs_normal=32, nrs_reference=8))


def test_a_zeroframe_is_refused_before_its_saturation_is_missed():
    ramp, threshold = readout(), SaturationModel(data=np.full(SCIENCE, 5e4, np.float32))
    ramp.zeroframe = np.full((1, 3200, 2048), 6e4, np.float32)
    with pytest.raises(UnsupportedModeError, match="IRS2 readout with a ZEROFRAME"):
        SaturationStep(override_saturation=threshold, override_superbias="N/A").run(ramp)


def test_references_that_do_not_fit():
    with pytest.raises(ReferenceFileError, match="100 rows of coefficients"):
        RefPixStep(override_refpix=reference(100)).run(readout())
    with pytest.raises(ReferenceFileError, match="OUTPUT and ODD_EVEN"):
        RefPixStep(override_refpix=reference(2 * 712 * 2048, [(5, 1, 1)])).run(readout())


def test_a_parameter_that_is_not_implemented():
    with pytest.raises(UnsupportedModeError, match="preserve_irs2_refpix"):
        RefPixStep(override_refpix="N/A", preserve_irs2_refpix=True).run(readout())


@pytest.mark.parametrize("detector", ["NRS1", "NRS2"])
@pytest.mark.parametrize("odd_even", [True, False])
def test_offsets_of_the_sectors(detector, odd_even):
    """Edge lines of a level in even rows, and 1 more in odd ones: a class of columns has a tenth of the other rows."""
    ramp, levels = readout(detector), 10.0 * np.arange(5) + 1
    edges = np.repeat(levels, 640) + np.arange(3200) % 2
    ramp.data[0, 0, :, :4] = ramp.data[0, 0, :, -4:] = edges[:, np.newaxis]
    ramp.data[0, 0, 700, 0] = 900
    ramp.pixeldq[700, 0] = 1
    step = RefPixStep(
        override_refpix=reference(2 * 712 * 2048), irs2_mean_subtraction=True, odd_even_columns=odd_even, siglimit=4.0
    )
    result = step.run(ramp)
    offsets = np.repeat(levels[1:] if detector == "NRS1" else levels[:-1], 512)
    offsets += np.where(np.arange(2048) % 2 == 0, 0.1, 0.9) if odd_even else 0.5
    np.testing.assert_allclose(result.data[0, 0, :, 4:-4], -np.tile(offsets[:, np.newaxis], 2040), rtol=1e-3)
    assert result.meta.cal_step.refpix == "COMPLETE"


def test_ipc_is_refused():
    with pytest.raises(UnsupportedModeError, match="ipc of IRS2"):
        IPCStep(override_ipc=IPCModel(data=np.ones((1, 1), np.float32))).run(readout())
