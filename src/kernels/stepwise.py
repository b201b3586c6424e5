"""The stepwise schedule: one correction over the whole of a native ramp, in place.

The fused schedule does the same corrections tile by tile (`upramp.kernels.fused`); both call the same tile operations.
"""

from dataclasses import dataclass

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import decode_flags_tile, decode_float_tile
from upramp.kernels.dark import DarkPlan, resample_dark, subtract_dark_in_place
from upramp.kernels.dq_init import init_dq_in_place
from upramp.kernels.group_scale import scale_groups_in_place
from upramp.kernels.ipc import correct_ipc_in_place
from upramp.kernels.jump import common_flags, detect_jumps_in_place
from upramp.kernels.likelihood import fit_ramps_likelihood_into
from upramp.kernels.likelihood_model import LikelihoodFit
from upramp.kernels.linearity import correct_linearity_in_place
from upramp.kernels.ramp_fit import RampFit, RatePlanes, fit_ramps_into, select_groups
from upramp.kernels.refpix import correct_reference_pixels_in_place
from upramp.kernels.saturation import flag_saturation_in_place
from upramp.kernels.segment_details import fit_segments
from upramp.kernels.superbias import subtract_superbias_in_place

__all__ = [
    "Ramp",
    "apply",
    "detail_segments",
    "detect_jumps",
    "fit_likelihood",
    "fit_ramps",
    "native_dark",
    "native_plane",
]


@dataclass
class Ramp:
    """The native arrays of a ramp; the corrections change them.

    Attributes
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts [DN].
    groupdq : (nint, ngroup, ny, nx) uint8
    pixeldq : (ny, nx) uint32
    zeroframe : (nint, ny, nx) float32 or None
        First reads [DN], 0 where unusable.
    """

    data: np.ndarray
    groupdq: np.ndarray
    pixeldq: np.ndarray
    zeroframe: np.ndarray | None = None

    @classmethod
    def of(cls, model):
        """The arrays of an object with these attributes."""
        return cls(model.data, model.groupdq, model.pixeldq, model.zeroframe)

    @property
    def frame(self):
        """Rows and columns."""
        return self.data.shape[-2:]


def native_plane(source, dtype, shape):
    """Decode the part of a reference plane that lies on the exposure.

    Parameters
    ----------
    source : Bits
    dtype : dtype
        float32 or uint32.
    shape : tuple of int
        (ny, nx) for one plane, (k, ny, nx) for all of them.

    Returns
    -------
    ndarray
        Native; zeros where the reference has no such plane.
    """
    out = np.zeros(shape, dtype)
    if source.bits.shape[0] == 0:
        return out
    if out.dtype == np.float32:
        decode_float_tile(out.reshape(-1, *shape[-2:]), source.record(), 0, 0, 0)
    else:
        decode_flags_tile(out, source.record(), 0, 0)
    return out


def native_dark(dark, shape):
    """The dark of each group of an exposure of ``shape``: (ngroup, ny, nx) float32 [DN]."""
    frames = native_plane(dark.frames, np.float32, (len(dark.frames.bits), *shape[-2:]))
    if dark.direct:
        return frames[: shape[1]]
    return resample_dark(frames, DarkPlan(dark.starts, dark.counts, 0, False))


def _scale(op, ramp, threads):
    scale_groups_in_place(ramp.data, op.factor, threads)


def _init_dq(op, ramp, threads):
    init_dq_in_place(ramp.groupdq, ramp.pixeldq, native_plane(op.mask, np.uint32, ramp.frame), threads)


def _flag_saturation(op, ramp, threads):
    flag_saturation_in_place(
        ramp.groupdq,
        ramp.pixeldq,
        ramp.data,
        native_plane(op.threshold, np.float32, ramp.frame),
        native_plane(op.flags, np.uint32, ramp.frame),
        native_plane(op.bias, np.float32, ramp.frame) if op.has_bias else None,
        n_pix_grow=op.grow,
        nframes=op.nframes,
        use_read_pattern=op.use_read_pattern,
        zeroframe=ramp.zeroframe,
        threads=threads,
    )


def _deconvolve(op, ramp, threads):
    limits = op.limits if isinstance(op, c.PixelCapacitance) else op[2:]
    correct_ipc_in_place(ramp.data, op.kernel, limits, threads)


def _subtract_bias(op, ramp, threads):
    subtract_superbias_in_place(
        ramp.data,
        ramp.pixeldq,
        native_plane(op.bias, np.float32, ramp.frame),
        native_plane(op.flags, np.uint32, ramp.frame),
        ramp.zeroframe,
        threads,
    )


def _subtract_reference_pixels(op, ramp, threads):
    correct_reference_pixels_in_place(
        ramp.data,
        ramp.pixeldq,
        op.detector,
        op.column0 + 1,
        op.row0 + 1,
        op.noutputs,
        op.subarray,
        **op.parameters,
        zeroframe=ramp.zeroframe,
        threads=threads,
    )


def _linearize(op, ramp, threads):
    shape = (len(op.coefficients.bits), *ramp.frame)
    correct_linearity_in_place(
        ramp.data,
        ramp.groupdq,
        ramp.pixeldq,
        native_plane(op.coefficients, np.float32, shape),
        native_plane(op.flags, np.uint32, ramp.frame),
        ramp.zeroframe,
        threads,
    )


def _subtract_dark(op, ramp, threads):
    flags = native_plane(op.flags, np.uint32, ramp.frame)
    subtract_dark_in_place(ramp.data, ramp.pixeldq, native_dark(op, ramp.data.shape), flags, threads)


_APPLY = {
    c.FrameScale: _scale,
    c.StaticMask: _init_dq,
    c.Saturation: _flag_saturation,
    c.InterPixelCapacitance: _deconvolve,
    c.PixelCapacitance: _deconvolve,
    c.SuperBias: _subtract_bias,
    c.ReferenceMeasurement: _subtract_reference_pixels,
    c.Linearity: _linearize,
    c.DarkCurrent: _subtract_dark,
}


def apply(correction, ramp, threads=None):
    """Do one correction.

    Parameters
    ----------
    correction : one of `upramp.kernels.corrections`
    ramp : Ramp
        Changed in place.
    threads : int or None
        Number of threads; None for all cores.
    """
    _APPLY[type(correction)](correction, ramp, threads)


def detect_jumps(op, ramp, threads=None):
    """Find jumps; changes the flags. Returns the number of primary jumps and of groups the whole frame cannot use."""
    n_primary = detect_jumps_in_place(
        ramp.data,
        ramp.groupdq,
        ramp.pixeldq,
        native_plane(op.gain, np.float32, ramp.frame),
        native_plane(op.read_noise, np.float32, ramp.frame),
        nframes=op.nframes,
        group_time=op.group_time,
        parameters=op.parameters,
        threads=threads,
    )
    return n_primary, int((common_flags(ramp.groupdq) & 1).sum())


def fit_ramps(op, ramp, firstgroup=None, lastgroup=None, threads=None):
    """Fit slopes; the group flags change. Returns a RampFit of new arrays, or None if there is nothing to fit."""
    ni, ny, nx = ramp.data.shape[0], *ramp.frame
    fit = RampFit(_empty_planes((ny, nx)), _empty_planes((ni, ny, nx)))
    dark = op.average_dark
    fitted = fit_ramps_into(
        *fit,
        ramp.data,
        ramp.groupdq,
        ramp.pixeldq,
        native_plane(op.gain, np.float32, ramp.frame),
        native_plane(op.read_noise, np.float32, ramp.frame),
        group_time=op.group_time,
        frame_time=op.frame_time,
        nframes=op.nframes,
        suppress_one_group=op.suppress_one_group,
        firstgroup=firstgroup,
        lastgroup=lastgroup,
        zeroframe=ramp.zeroframe,
        average_dark_current=native_plane(dark, np.float32, ramp.frame) if len(dark.bits) else None,
        threads=threads,
    )
    return fit if fitted else None


def fit_likelihood(op, ramp, firstgroup=None, lastgroup=None, threads=None):
    """Fit slopes by likelihood; jumps are added to the group flags. Returns a LikelihoodFit of new arrays."""
    ni, ny, nx = ramp.data.shape[0], *ramp.frame
    select_groups(ramp.groupdq, firstgroup, lastgroup, threads)
    fit = LikelihoodFit(
        _empty_planes((ny, nx)),
        _empty_planes((ni, ny, nx)),
        np.empty((ny, nx), np.float32),
        np.empty((ni, ny, nx), np.float32),
        ramp.groupdq,
    )
    dark = op.average_dark
    fit_ramps_likelihood_into(
        *fit[:4],
        ramp.data,
        ramp.groupdq,
        ramp.pixeldq,
        native_plane(op.gain, np.float32, ramp.frame),
        native_plane(op.read_noise, np.float32, ramp.frame),
        read_times=op.read_times,
        zeroframe=ramp.zeroframe,
        average_dark_current=native_plane(dark, np.float32, ramp.frame) if len(dark.bits) else None,
        threads=threads,
    )
    return fit


def detail_segments(op, ramp, slopes, drop_frames=0, threads=None):
    """Fit of every segment of a ramp after `fit_ramps`, whose slopes per integration are given: SegmentDetails."""
    dark = op.average_dark
    return fit_segments(
        ramp.data,
        ramp.groupdq,
        native_plane(op.gain, np.float32, ramp.frame),
        native_plane(op.read_noise, np.float32, ramp.frame),
        slopes,
        group_time=op.group_time,
        frame_time=op.frame_time,
        nframes=op.nframes,
        groupgap=op.groupgap,
        drop_frames=drop_frames,
        suppress_one_group=op.suppress_one_group,
        zeroframe=ramp.zeroframe,
        average_dark_current=native_plane(dark, np.float32, ramp.frame) if len(dark.bits) else None,
        threads=threads,
    )


def _empty_planes(shape):
    return RatePlanes(*(np.empty(shape, np.float32) for _ in range(4)), np.empty(shape, np.uint32))
