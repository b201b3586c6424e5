"""dark_current: subtract the dark ramp."""

import numpy as np

from upramp.errors import ReferenceFileError
from upramp.kernels._bits import as_bits
from upramp.kernels.corrections import NO_PLANE, DarkCurrent
from upramp.kernels.dark import dark_integrations, dark_plan
from upramp.models import DarkMIRIModel, DarkModel
from upramp.steps.ramp_step import RampStep, is_miri, require, science_frame

__all__ = ["DarkCurrentStep"]


class DarkCurrentStep(RampStep):
    """Subtract the dark reference, averaged to the read pattern of the exposure."""

    class_alias = "dark_current"
    status_attribute = "dark_sub"
    reference_file_types = ("dark",)
    spec = """
    dark_output          = output_file(default=None)  # Save the dark that was subtracted
    average_dark_current = float(default=None)        # Average dark current for the photon noise, e-/s
    """

    def correction(self, ramp):
        """Which frames of the dark belong to which group; the dark must have the shape of the exposure."""
        miri = is_miri(ramp)
        reference = self.open_reference(ramp, "dark", DarkMIRIModel if miri else DarkModel)
        if reference is None:
            return None
        frames, frame = reference.mapped("data"), science_frame(ramp)
        axes = "integrations, groups" if miri else "groups"
        if frames is None or frames.bits.ndim != 3 + miri or frames.bits.shape[-2:] != frame:
            found = "no SCI array" if frames is None else f"SCI of shape {frames.bits.shape}"
            raise ReferenceFileError(
                f"DARK reference {reference.meta.filename} has {found}; expected ({axes}, {frame[0]}, "
                f"{frame[1]}) like the exposure: darks are not cut out of larger ones"
            )
        self._set_average(ramp, reference, frame)
        nframes, groupgap = require(ramp, NFRAMES="meta.exposure.nframes", GROUPGAP="meta.exposure.groupgap")
        dark_nframes, dark_groupgap = reference.meta.exposure.nframes or 1, reference.meta.exposure.groupgap or 0
        dark_groups = frames.bits.shape[-3]
        plan = dark_plan(ramp.shape[1], nframes, groupgap, dark_groups, dark_nframes, dark_groupgap)
        if plan is None:
            self.record_skip(
                ramp,
                f"the dark has NFRAMES {dark_nframes} and GROUPGAP {dark_groupgap}, more than the exposure "
                f"({nframes} and {groupgap})",
            )
            return None
        dark = DarkCurrent(
            True,
            frames=as_bits(frames, np.float32),
            flags=NO_PLANE if miri else self._flags(reference, frame),
            starts=plan.starts,
            counts=plan.counts,
            direct=plan.direct,
        )
        if miri:
            first = ramp.meta.exposure.integration_start or 1
            dark = dark._replace(
                integrations=dark_integrations(ramp.shape[0], len(frames.bits), first), per_integration=dark_groups
            )
            if reference.has_array("dq"):
                # The flags of all its integrations hold for the exposure.
                flags = np.bitwise_or.reduce(reference.dq[:, 0], axis=0)
                dark = dark._replace(flags=as_bits(flags, np.uint32))
        if self.dark_output is not None:
            self._save_dark(ramp, reference, dark, plan)
        return dark

    @staticmethod
    def _flags(reference, frame):
        """Flags of the dark, which has the shape of the exposure like its frames."""
        flags = reference.mapped("dq")
        if flags is None:
            return NO_PLANE
        if flags.bits.shape != frame:
            raise ReferenceFileError(
                f"DARK reference {reference.meta.filename} has DQ of shape {flags.bits.shape}; expected {frame}"
            )
        return as_bits(flags, np.uint32)

    def _set_average(self, ramp, reference, frame):
        """Give the ramp the average dark current: the parameter, else the scalar of the reference.

        An image of averages in the reference wins over its scalar, but replaces only one that the ramp has already
        (reference behaviour).
        """
        average = self.average_dark_current
        if (
            average is None
            and reference.has_array("average_dark_current")
            and reference.average_dark_current.sum() != 0
        ):
            if ramp.has_array("average_dark_current") and reference.average_dark_current.shape == frame:
                ramp.average_dark_current = reference.average_dark_current.astype(np.float32)
            else:
                self.log.warning("The average dark current of each pixel in the reference is not used")
            return
        if average is None:
            average = reference.meta.exposure.average_dark_current or 0.0
        ramp.average_dark_current = np.full(frame, average, np.float32)

    def _save_dark(self, ramp, reference, dark, plan):
        """Save what is subtracted; a dark that need not be averaged is saved with all its groups, as by the peer."""
        from upramp.kernels.stepwise import native_dark

        groups, exposure = ramp.shape[1], ramp.meta.exposure
        nframes, groupgap = exposure.nframes, exposure.groupgap
        if (nframes, groupgap) == (reference.meta.exposure.nframes or 1, reference.meta.exposure.groupgap or 0):
            groups = reference.shape[-3] + plan.extrapolated
            dark = dark._replace(starts=np.arange(groups), counts=np.ones(groups, np.int64), direct=False)
        shape = (ramp.shape[0], groups, *science_frame(ramp))
        saved = type(reference)()
        saved.update(reference)
        if len(reference.shape) == 4:
            saved.data = np.stack([native_dark(dark, shape, n) for n in range(reference.shape[0])])
        else:
            saved.data = native_dark(dark, shape)
        saved.dq = reference.dq
        saved.meta.exposure.nframes, saved.meta.exposure.groupgap = nframes, groupgap
        saved.meta.exposure.ngroups = groups
        path = self.dark_output
        if self.search_attr("output_dir"):
            path = self.make_output_path(path, suffix=False)
        saved.save(path)
        self.log.info("Saved the dark that is subtracted in %s", path)
