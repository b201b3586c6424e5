"""ipc: deconvolve the capacitance between pixels."""

import numpy as np

from upramp.errors import ReferenceFileError, UnsupportedModeError
from upramp.kernels._irs2_layout import is_interleaved
from upramp.kernels.corrections import InterPixelCapacitance, PixelCapacitance
from upramp.kernels.ipc import science_limits
from upramp.models import IPCModel
from upramp.models.stripes import is_striped
from upramp.steps.ramp_step import RampStep, is_miri, require

__all__ = ["IPCStep"]


class IPCStep(RampStep):
    """Correct charge that neighbouring pixels see, by convolution with the inverse kernel."""

    class_alias = "ipc"
    takes_superstripes = True
    reference_file_types = ("ipc",)

    def correction(self, ramp):
        """One kernel for the detector, or one for every pixel; reference pixels do not take part."""
        reference = self.open_reference(ramp, "ipc", IPCModel)
        if reference is None:
            return None
        kernel = np.ascontiguousarray(reference.data, np.float32)
        if kernel.ndim not in (2, 4) or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
            raise ReferenceFileError(
                f"IPC reference {reference.meta.filename} has shape {kernel.shape}; "
                "expected (k, k) or (k, k, rows, columns) with odd k"
            )
        if is_interleaved(ramp.shape):
            raise UnsupportedModeError("ipc of IRS2 readouts is not implemented; set skip=True, as in operations")
        xstart, ystart = require(ramp, SUBSTRT1="meta.subarray.xstart", SUBSTRT2="meta.subarray.ystart")
        ny, nx = ramp.shape[-2:]
        limits = science_limits(xstart, ystart, nx, ny, miri=is_miri(ramp))
        if is_striped(ramp) and (limits.first_row == limits.last_row or limits.first_column == limits.last_column):
            self.record_skip(ramp, "the stripes start at the end of the detector; no pixel would be corrected")
            return None
        if kernel.ndim == 2:
            return InterPixelCapacitance(True, kernel, *limits)
        if kernel.shape[2:] != (ny, nx):
            kernel = kernel[:, :, ystart - 1 : ystart - 1 + ny, xstart - 1 : xstart - 1 + nx]
        if kernel.shape[2:] != (ny, nx):
            raise ReferenceFileError(
                f"IPC reference {reference.meta.filename} does not cover the {ny} x {nx} pixels of the exposure "
                f"at row {ystart}, column {xstart}: its array is {reference.shape}"
            )
        return PixelCapacitance(np.ascontiguousarray(kernel), limits)
