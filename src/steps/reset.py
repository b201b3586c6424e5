"""reset: subtract the transient after a reset (MIRI)."""

import numpy as np

from upramp.errors import ReferenceFileError
from upramp.kernels._bits import as_bits
from upramp.kernels.corrections import NO_PLANE, ResetAnomaly
from upramp.kernels.reset import reset_integrations
from upramp.models import ResetModel
from upramp.steps.ramp_step import MiriStep, require

__all__ = ["ResetStep"]


class ResetStep(MiriStep):
    """Subtract the reset anomaly from the first groups of every integration."""

    class_alias = "reset"
    reference_file_types = ("reset",)

    def miri_correction(self, ramp):
        """The reference says for how many groups and integrations it holds; its last integration serves all later."""
        reference = self.open_reference(ramp, "reset", ResetModel)
        if reference is None:
            return None
        frames = reference.mapped("data")
        ny, nx = ramp.shape[-2:]
        if frames is None or frames.bits.shape[-2:] != (ny, nx):
            found = "no SCI array" if frames is None else f"SCI of shape {frames.bits.shape}"
            raise ReferenceFileError(
                f"RESET reference {reference.meta.filename} has {found}; expected (integrations, groups, {ny}, {nx}) "
                "like the exposure: it is not cut out of a larger one"
            )
        flags = reference.mapped("dq")
        if flags is not None and flags.bits.shape[-2:] != (ny, nx):
            raise ReferenceFileError(
                f"RESET reference {reference.meta.filename} has a DQ array of shape {flags.bits.shape}; expected "
                f"({ny}, {nx}) like the exposure"
            )
        stored = frames.bits.shape[:2]
        n_integrations = reference.meta.exposure.nints or stored[0]
        n_groups = reference.meta.exposure.ngroups or stored[1]
        if n_integrations > stored[0] or n_groups > stored[1]:
            raise ReferenceFileError(
                f"RESET reference {reference.meta.filename} states NINTS {n_integrations} and NGROUPS {n_groups}; "
                f"its SCI array has {stored[0]} and {stored[1]}"
            )
        (ngroups,) = require(ramp, NGROUPS="meta.exposure.ngroups")
        first = ramp.meta.exposure.integration_start or 1
        return ResetAnomaly(
            True,
            frames=as_bits(frames, np.float32),
            flags=NO_PLANE if flags is None else as_bits(flags, np.uint32),
            integrations=reset_integrations(ramp.shape[0], n_integrations, first),
            per_integration=stored[1],
            groups=min(n_groups, ngroups),
        )
