"""firstframe: leave out the first group (MIRI)."""

import warnings

from upramp.kernels.corrections import FirstGroup
from upramp.kernels.edge_groups import MINIMUM_GROUPS_FIRST
from upramp.steps.ramp_step import MiriStep

__all__ = ["FirstFrameStep"]


class FirstFrameStep(MiriStep):
    """Flag the first group of every integration; superseded by rscd, which does it too."""

    class_alias = "firstframe"
    spec = """
    bright_use_group1 = boolean(default=True)  # Keep it where the third group is saturated
    skip              = boolean(default=True)  # Skip this step; rscd leaves out the first group
    """

    def miri_correction(self, ramp):
        """Ramps of up to three groups are left as they are."""
        warnings.warn("FirstFrameStep is deprecated: rscd leaves out the first group", DeprecationWarning, stacklevel=2)
        if ramp.shape[1] < MINIMUM_GROUPS_FIRST:
            self.record_skip(ramp, f"the exposure has {ramp.shape[1]} groups; {MINIMUM_GROUPS_FIRST} are needed")
            return None
        return FirstGroup(True, self.bright_use_group1)
