"""group_scale: undo the wrong divisor of the on-board frame average."""

from upramp.kernels.corrections import FrameScale
from upramp.steps.ramp_step import RampStep, require

__all__ = ["GroupScaleStep"]


class GroupScaleStep(RampStep):
    """Rescale group averages of exposures whose NFRAMES is not the divisor used on board."""

    class_alias = "group_scale"
    takes_superstripes = True

    def correction(self, ramp):
        """Samples are multiplied by FRMDIVSR / NFRAMES where the two differ."""
        exposure = ramp.meta.exposure
        nframes, divisor = exposure.nframes, exposure.frame_divisor
        if nframes is None:
            self.record_skip(ramp, "NFRAMES is not in the header")
        elif divisor is None:
            self.record_skip(ramp, f"FRMDIVSR is not in the header; taken to be NFRAMES = {nframes}")
        elif nframes == divisor:
            self.record_skip(ramp, f"NFRAMES and FRMDIVSR are both {nframes}, nothing to do")
        else:
            (nframes,) = require(ramp, NFRAMES="meta.exposure.nframes")  # above zero
            return FrameScale(True, float(divisor) / nframes)
        return None
