"""charge_migration: leave out groups in which charge migrates to neighbouring pixels."""

from upramp.kernels.charge_migration import MINIMUM_GROUPS
from upramp.kernels.corrections import ChargeMigration
from upramp.steps.ramp_step import RampStep

__all__ = ["ChargeMigrationStep"]


class ChargeMigrationStep(RampStep):
    """Flag the groups with a high signal, and those of the pixels next to it, CHARGELOSS and DO_NOT_USE.

    Meant for undersampled images of NIRISS; nothing in it depends on the instrument.
    """

    class_alias = "charge_migration"
    spec = """
    signal_threshold = float(default=25000)  # Charge migrates from this signal on, DN
    skip             = boolean(default=True)  # Skip this step
    """

    def correction(self, ramp):
        """The threshold; ramps of one or two groups stay as they are."""
        if ramp.shape[1] < MINIMUM_GROUPS:
            self.record_skip(ramp, f"the exposure has {ramp.shape[1]} groups; {MINIMUM_GROUPS} are needed")
            return None
        return ChargeMigration(True, float(self.signal_threshold))
