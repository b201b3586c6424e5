"""Steps that are off by default."""

import logging

import numpy as np

from upramp import steps
from upramp.kernels import flag_charge_migration
from upramp.models import RampModel


def shortened(ramp, ngroups):
    """The first groups of a ramp."""
    short = RampModel(ramp.data[:, :ngroups].copy())
    short.update(ramp)
    short.meta.exposure.ngroups = ngroups
    return short


def test_charge_migration(ramp):
    before = ramp.groupdq.copy()
    threshold = float(np.median(ramp.data))
    result = steps.ChargeMigrationStep.call(ramp, signal_threshold=threshold)
    assert result.meta.cal_step.charge_migration == "COMPLETE"
    np.testing.assert_array_equal(result.groupdq, flag_charge_migration(ramp.data, before, threshold))
    np.testing.assert_array_equal(ramp.groupdq, before)
    np.testing.assert_array_equal(result.data, ramp.data)
    assert (result.groupdq == 129).any()


def test_charge_migration_needs_three_groups(ramp, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    short = shortened(ramp, 2)
    result = steps.ChargeMigrationStep.call(short, signal_threshold=0.0, configure_log=False)
    assert result.meta.cal_step.charge_migration == "SKIPPED"
    assert "the exposure has 2 groups; 3 are needed" in caplog.text
    assert not result.groupdq.any()
