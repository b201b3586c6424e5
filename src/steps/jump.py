"""jump: find cosmic-ray hits in the ramps."""

import numpy as np

from upramp.kernels.corrections import JumpDetection
from upramp.kernels.jump import JumpParameters
from upramp.kernels.showers import ShowerParameters
from upramp.kernels.snowballs import SnowballParameters
from upramp.models import GainModel, ReadnoiseModel
from upramp.steps.ramp_step import RampStep, plane, require

__all__ = ["JumpStep"]

MINIMUM_GROUPS = 3


class JumpStep(RampStep):
    """Flag groups in which the counts of a pixel jump."""

    class_alias = "jump"
    reference_file_types = ("gain", "readnoise")
    spec = """
    rejection_threshold             = float(default=4.0, min=0)   # Threshold for a jump, sigma
    three_group_rejection_threshold = float(default=6.0, min=0)   # Threshold with two usable differences, sigma
    four_group_rejection_threshold  = float(default=5.0, min=0)   # Threshold with three usable differences, sigma
    maximum_cores                   = string(default='1')         # Accepted; UPRAMP_THREADS sets the threads
    flag_4_neighbors                = boolean(default=True)       # Flag the four neighbours of a jump
    max_jump_to_flag_neighbors      = float(default=1000)         # Jumps from here on flag no neighbours, sigma
    min_jump_to_flag_neighbors      = float(default=10)           # Jumps up to here flag no neighbours, sigma
    after_jump_flag_dn1             = float(default=0, min=0)     # First size of jumps that flag groups after them, DN
    after_jump_flag_time1           = float(default=0, min=0)     # For how long, s
    after_jump_flag_dn2             = float(default=0, min=0)     # Second such size, DN
    after_jump_flag_time2           = float(default=0, min=0)     # For how long, s
    expand_large_events             = boolean(default=False)      # Find snowballs and flag them as a whole
    min_sat_area                    = float(default=1.0)          # Snowballs: least saturated area, pixels
    min_jump_area                   = float(default=5.0)          # Snowballs: least area of jumps, pixels
    expand_factor                   = float(default=2.0)          # Snowballs: growth of the axes
    use_ellipses                    = boolean(default=False)      # Accepted for compatibility, without effect
    sat_required_snowball           = boolean(default=True)       # Snowballs: only around saturated cores
    min_sat_radius_extend           = float(default=2.5)          # Snowballs: least axis of a core that grows, pixels
    sat_expand                      = integer(default=2)          # Snowballs: growth of a saturated core, pixels
    edge_size                       = integer(default=25)         # Snowballs: no core needed so near the edge, pixels
    mask_snowball_core_next_int     = boolean(default=True)       # Snowballs: flag cores in the next integration too
    snowball_time_masked_next_int   = integer(default=4000)       # For how long, s
    find_showers                    = boolean(default=False)      # MIRI: find showers
    max_shower_amplitude            = float(default=4)            # Accepted, without effect: 6 e-/s times TGROUP count
    extend_snr_threshold            = float(default=1.2)          # Showers: threshold of the smoothed image
    extend_min_area                 = integer(default=90)         # Showers: least area, pixels
    extend_inner_radius             = float(default=1)            # Showers: inner radius of the smoothing ring, pixels
    extend_outer_radius             = float(default=2.6)          # Showers: width of the smoothing ring, pixels
    extend_ellipse_expand_ratio     = float(default=1.1)          # Showers: growth of the axes
    time_masked_after_shower        = float(default=15)           # Showers: flagged for so long, s
    min_diffs_single_pass           = integer(default=10)         # So many differences are tested in a single pass
    max_extended_radius             = integer(default=200)        # Largest radius of an extended event, pixels
    minimum_groups                  = integer(default=3)          # Accepted; three groups are always needed
    minimum_sigclip_groups          = integer(default=100)        # So many integrations are sigma-clipped
    only_use_ints                   = boolean(default=True)       # Sigma clipping across integrations only
    """

    def parameters(self, kind):
        """Parameters of a kernel, of the class ``kind``: those of this step that it knows."""
        names = [name for name in kind.__dataclass_fields__ if name != "max_shower_amplitude"]
        return kind(**{name: getattr(self, name) for name in names})

    def correction(self, ramp):
        """Gain and read noise of every pixel; fewer than three groups cannot be searched."""
        if ramp.shape[1] < MINIMUM_GROUPS:
            self.record_skip(ramp, f"the exposure has {ramp.shape[1]} groups; {MINIMUM_GROUPS} are needed")
            return None
        gain = self.open_reference(ramp, "gain", GainModel)
        noise = self.open_reference(ramp, "readnoise", ReadnoiseModel)
        if gain is None or noise is None:
            return None
        nframes, group_time = require(ramp, NFRAMES="meta.exposure.nframes", TGROUP="meta.exposure.group_time")
        return JumpDetection(
            gain=plane(gain, "data", ramp, np.float32),
            read_noise=plane(noise, "data", ramp, np.float32),
            nframes=nframes,
            group_time=group_time,
            parameters=self.parameters(JumpParameters),
            snowballs=self.parameters(SnowballParameters) if self.expand_large_events else None,
            showers=self.parameters(ShowerParameters) if self.find_showers else None,
        )

    def record_counts(self, model, n_primary, n_unused_groups, n_events, shape=None):
        """Write the rates of primary cosmic rays [1000 / s / pixel] and large events [1e6 / s / pixel] into the header.

        Parameters
        ----------
        model : RampModel, or a product made from it
            Changed in place.
        n_primary : int
            Samples flagged before neighbours and later groups were.
        n_unused_groups : int
            Groups, over all integrations, that the whole frame cannot use.
        n_events : int
            Snowballs or showers.
        shape : (nint, ngroup, ny, nx), optional
            Shape of the ramp, if the model is not it.
        """
        ni, ng, ny, nx = shape or model.shape
        groups = ni * ng - n_unused_groups - ni
        if groups >= 1:
            seconds = model.meta.exposure.group_time * groups * (ny * nx)
            model.meta.exposure.primary_cosmic_rays = 1000.0 * n_primary / seconds
            model.meta.exposure.extended_emission_events = 1e6 * n_events / seconds

    def process(self, data):
        """Find jumps: changes the flags only."""
        from upramp.kernels import stepwise

        ramp = self.open_ramp(data)
        correction = self.correction(ramp)
        if correction is not None:
            self.record_counts(ramp, *stepwise.detect_jumps(correction, stepwise.Ramp.of(ramp)))
            self.count_flags(ramp, "jump_samples")
            self.record_complete(ramp)
        return ramp
