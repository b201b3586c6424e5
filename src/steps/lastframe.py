"""lastframe: leave out the last group (MIRI)."""

from upramp.kernels.corrections import LastGroup
from upramp.kernels.edge_groups import MINIMUM_GROUPS_LAST
from upramp.steps.ramp_step import MiriStep

__all__ = ["LastFrameStep"]


class LastFrameStep(MiriStep):
    """Flag the last group of every integration, which the reset after it disturbs."""

    class_alias = "lastframe"

    def miri_correction(self, ramp):
        """Ramps of one or two groups are left as they are."""
        if ramp.shape[1] < MINIMUM_GROUPS_LAST:
            self.record_skip(ramp, f"the exposure has {ramp.shape[1]} groups; {MINIMUM_GROUPS_LAST} are needed")
            return None
        return LastGroup(True)
