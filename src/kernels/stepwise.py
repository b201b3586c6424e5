"""The stepwise schedule: one correction over the whole of a native ramp, in place.

The fused schedule does the same corrections tile by tile (`upramp.kernels.fused`); both call the same tile operations.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import Bits, decode_flags_tile, decode_float_tile
from upramp.kernels._flags import BAD_REF_PIXEL, DO_NOT_USE
from upramp.kernels._irs2_layout import science_rows
from upramp.kernels._irs2_saturation import flag_interleaved_saturation_in_place
from upramp.kernels._layout import ShapeError
from upramp.kernels._tiles import run_tile
from upramp.kernels.charge_migration import flag_charge_migration_in_place
from upramp.kernels.dark import DarkPlan, resample_dark, subtract_dark_in_place
from upramp.kernels.dq_init import init_dq_in_place
from upramp.kernels.edge_groups import flag_first_group_in_place, flag_last_group_in_place
from upramp.kernels.group_scale import scale_groups_in_place
from upramp.kernels.ipc import correct_ipc_in_place
from upramp.kernels.irs2 import correct_interleaved, prepare_coefficients
from upramp.kernels.jump import common_flags, detect_jumps_in_place
from upramp.kernels.likelihood import fit_ramps_likelihood_into
from upramp.kernels.likelihood_model import LikelihoodFit
from upramp.kernels.linearity import correct_linearity_in_place
from upramp.kernels.persistence import flag_persistence_tile
from upramp.kernels.ramp_fit import RampFit, RatePlanes, fit_ramps_into, select_groups
from upramp.kernels.read_level_linearity import correct_linearity_of_reads_in_place
from upramp.kernels.refpix import correct_reference_pixels_in_place
from upramp.kernels.reset import subtract_reset_in_place
from upramp.kernels.rscd import flag_rscd_in_place
from upramp.kernels.saturation import flag_saturation_in_place
from upramp.kernels.segment_details import fit_segments
from upramp.kernels.showers import flag_showers_in_place
from upramp.kernels.side_pixels import correct_side_pixels_in_place
from upramp.kernels.sirs import correct_by_convolution_in_place
from upramp.kernels.snowballs import flag_snowballs_in_place
from upramp.kernels.superbias import subtract_superbias_in_place

__all__ = [
    "JumpCounts",
    "Ramp",
    "apply",
    "apply_by_position",
    "detail_segments",
    "detect_jumps",
    "fit_likelihood",
    "fit_ramps",
    "fit_slopes",
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

    Raises
    ------
    ShapeError
        The reference does not cover the exposure.
    """
    out = np.zeros(shape, dtype)
    if source.bits.shape[0] == 0:
        return out
    rows, columns = source.bits.shape[1:]
    if source.first_row + shape[-2] > rows or source.first_column + shape[-1] > columns:
        raise ShapeError(
            f"the exposure has {shape[-2]} rows and {shape[-1]} columns, its reference {rows} and {columns}; an IRS2 "
            "readout (3200 rows) has to pass refpix before the steps that work on its 2048 rows of science pixels"
        )
    if out.dtype == np.float32:
        decode_float_tile(out.reshape(-1, *shape[-2:]), source.record(), 0, 0, 0)
    else:
        decode_flags_tile(out, source.record(), 0, 0)
    return out


def native_dark(dark, shape, integration=0):
    """The dark of each group of an exposure of ``shape``: (ngroup, ny, nx) float32 [DN].

    ``integration``: which ramp of a dark with several of them.
    """
    count = dark.per_integration or len(dark.frames.bits)
    frames = _frames(dark.frames, integration * count, count, shape)
    if dark.direct:
        return frames[: shape[1]]
    return resample_dark(frames, DarkPlan(dark.starts, dark.counts, 0, False))


def _frames(source, first, count, shape):
    """Native planes first ... first + count - 1 of a reference."""
    return native_plane(source._replace(bits=source.bits[first : first + count]), np.float32, (count, *shape[-2:]))


def _scale(op, ramp, threads):
    scale_groups_in_place(ramp.data, op.factor, threads)


def _init_dq(op, ramp, threads):
    init_dq_in_place(ramp.groupdq, ramp.pixeldq, native_plane(op.mask, np.uint32, ramp.frame), threads)


def _flag_saturation(op, ramp, threads):
    if op.irs2_detector:
        detector = f"NRS{op.irs2_detector}"
        science = (len(science_rows(detector)), ramp.frame[1])
        flag_interleaved_saturation_in_place(
            ramp.groupdq,
            ramp.pixeldq,
            ramp.data,
            detector,
            native_plane(op.threshold, np.float32, science),
            native_plane(op.flags, np.uint32, science),
            native_plane(op.bias, np.float32, ramp.frame),
            n_pix_grow=op.grow,
            nframes=op.nframes,
            use_read_pattern=op.use_read_pattern,
            threads=threads,
        )
        return
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
    if op.side_kernels is not None:
        correct_by_convolution_in_place(
            ramp.data,
            ramp.pixeldq,
            op.detector,
            op.side_kernels,
            odd_even_columns=op.parameters["odd_even_columns"],
            siglimit=op.parameters["siglimit"],
            sigreject=op.sigreject,
            zeroframe=ramp.zeroframe,
            threads=threads,
        )
        return
    correct_reference_pixels_in_place(
        ramp.data,
        ramp.pixeldq,
        op.detector,
        op.column0 + 1,
        op.row0 + 1,
        op.noutputs,
        op.subarray,
        **op.parameters,
        striped=op.striped,
        zeroframe=ramp.zeroframe,
        threads=threads,
    )


def _subtract_interleaved(op, ramp, threads):
    """Afterwards the arrays of the ramp are new ones that hold the science pixels alone."""
    ramp.data, bad = correct_interleaved(
        ramp.data,
        ramp.pixeldq,
        op.detector,
        prepare_coefficients(op.table, threads),
        op.flagged_pairs,
        n_sigma=op.n_sigma,
        subtract_means=op.subtract_means,
        odd_even_columns=op.odd_even_columns,
        siglimit=op.siglimit,
        threads=threads,
    )
    rows = science_rows(op.detector)
    ramp.pixeldq = ramp.pixeldq[rows]
    ramp.pixeldq[bad[rows]] |= BAD_REF_PIXEL | DO_NOT_USE
    ramp.groupdq = ramp.groupdq[:, :, rows]


def _linearize(op, ramp, threads):
    coefficients = native_plane(op.coefficients, np.float32, (len(op.coefficients.bits), *ramp.frame))
    flags = native_plane(op.flags, np.uint32, ramp.frame)
    arrays = ramp.data, ramp.groupdq, ramp.pixeldq, coefficients
    if len(op.inverse.bits) == 0:
        correct_linearity_in_place(*arrays, flags, ramp.zeroframe, threads)
    else:
        inverse = native_plane(op.inverse, np.float32, (len(op.inverse.bits), *ramp.frame))
        correct_linearity_of_reads_in_place(*arrays, inverse, flags, op.nframes, ramp.zeroframe, threads)


def _subtract_dark(op, ramp, threads):
    flags = native_plane(op.flags, np.uint32, ramp.frame)
    if len(op.integrations) == 0:
        subtract_dark_in_place(ramp.data, ramp.pixeldq, native_dark(op, ramp.data.shape), flags, threads)
    for n in np.unique(op.integrations):
        dark = native_dark(op, ramp.data.shape, n)
        for i in np.flatnonzero(op.integrations == n):
            subtract_dark_in_place(ramp.data[i : i + 1], ramp.pixeldq, dark, flags, threads)


def _subtract_reset(op, ramp, threads):
    flags = native_plane(op.flags, np.uint32, ramp.frame)
    for n in np.unique(op.integrations):
        reset = _frames(op.frames, n * op.per_integration, op.groups, ramp.data.shape)
        for i in np.flatnonzero(op.integrations == n):
            subtract_reset_in_place(ramp.data[i : i + 1], ramp.pixeldq, reset, flags, threads)


def _flag_first_group(op, ramp, threads):
    flag_first_group_in_place(ramp.groupdq, ramp.pixeldq, op.keep_bright, threads)


def _flag_last_group(op, ramp, threads):
    flag_last_group_in_place(ramp.groupdq, threads)


def _flag_switch_charge(op, ramp, threads):
    return flag_rscd_in_place(ramp.groupdq, ramp.pixeldq, op.skips, op.n_first, threads)


def _correct_side_pixels(op, ramp, threads):
    return correct_side_pixels_in_place(ramp.data, ramp.pixeldq, **op._asdict(), threads=threads)


def _flag_migration(op, ramp, threads):
    flag_charge_migration_in_place(ramp.groupdq, ramp.data, op.threshold, threads)


def _flag_persistence(op, ramp, threads):
    run_tile(flag_persistence_tile, ramp.groupdq, ramp.data, *op[1:], 0, 0, threads=threads)


_APPLY = {
    c.FrameScale: _scale,
    c.StaticMask: _init_dq,
    c.Saturation: _flag_saturation,
    c.InterPixelCapacitance: _deconvolve,
    c.PixelCapacitance: _deconvolve,
    c.SuperBias: _subtract_bias,
    c.ReferenceMeasurement: _subtract_reference_pixels,
    c.InterleavedReference: _subtract_interleaved,
    c.Linearity: _linearize,
    c.DarkCurrent: _subtract_dark,
    c.FirstGroup: _flag_first_group,
    c.LastGroup: _flag_last_group,
    c.ResetAnomaly: _subtract_reset,
    c.SwitchCharge: _flag_switch_charge,
    c.SideMeasurement: _correct_side_pixels,
    c.ChargeMigration: _flag_migration,
    c.Persistence: _flag_persistence,
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

    Returns
    -------
    object
        What the function in place returns: counts of RSCD, whether side pixels could be used, else None.
    """
    return _APPLY[type(correction)](correction, ramp, threads)


def apply_by_position(correction, ramp, threads=None):
    """Do one correction of a superstripe exposure: the integrations of each position are a ramp of their own.

    Parameters
    ----------
    correction : one of `upramp.kernels.corrections`
        Its references have one plane for each position.
    ramp : Ramp
        Changed in place; pixel flags (positions, ny, nx), positions in turn along the integrations.
    threads : int or None
        Number of threads; None for all cores.

    Notes
    -----
    Reference pixels are told by the flags of the first position, for all of them (reference behaviour).
    """
    positions = len(ramp.pixeldq)
    measures = isinstance(correction, c.ReferenceMeasurement)
    for p in range(positions):
        own = slice(p, None, positions)
        arrays = [None if array is None else array[own].copy() for array in (ramp.data, ramp.groupdq, ramp.zeroframe)]
        apply(
            _at_position(correction, p),
            Ramp(arrays[0], arrays[1], ramp.pixeldq[0 if measures else p], arrays[2]),
            threads,
        )
        ramp.data[own], ramp.groupdq[own] = arrays[:2]
        if ramp.zeroframe is not None:
            ramp.zeroframe[own] = arrays[2]


def _at_position(correction, p):
    """The correction with the planes of one position of its references."""
    planes = {name: value for name, value in correction._asdict().items() if isinstance(value, Bits)}
    own = {name: value._replace(bits=value.bits[p : p + 1]) for name, value in planes.items()}
    return correction._replace(**own)


class JumpCounts(NamedTuple):
    """What `detect_jumps` found.

    n_primary : samples with a jump before neighbours were flagged; -99 if jumps were not looked for
    n_unused_groups : groups, over all integrations, that the whole frame cannot use
    n_events : showers; snowballs, if showers were not looked for
    """

    n_primary: int
    n_unused_groups: int
    n_events: int


def detect_jumps(op, ramp, threads=None):
    """Find jumps and large events; changes the flags. Returns `JumpCounts`."""
    gain, read_noise = (native_plane(source, np.float32, ramp.frame) for source in (op.gain, op.read_noise))
    n_primary = detect_jumps_in_place(
        ramp.data,
        ramp.groupdq,
        ramp.pixeldq,
        gain,
        read_noise,
        nframes=op.nframes,
        group_time=op.group_time,
        parameters=op.parameters,
        threads=threads,
    )
    n_events = 0
    if op.snowballs is not None:
        n_events = flag_snowballs_in_place(
            ramp.groupdq, group_time=op.group_time, parameters=op.snowballs, threads=threads
        )
    if op.showers is not None:
        n_events = flag_showers_in_place(
            ramp.data,
            ramp.groupdq,
            ramp.pixeldq,
            gain,
            read_noise,
            nframes=op.nframes,
            group_time=op.group_time,
            parameters=op.showers,
            threads=threads,
        )
    return JumpCounts(n_primary, int((common_flags(ramp.groupdq) & 1).sum()), n_events)


def fit_ramps(op, ramp, firstgroup=None, lastgroup=None, threads=None, fit=None):
    """Fit slopes; the group flags change. Returns a RampFit, or None if there is nothing to fit.

    ``fit`` is where the slopes go, if not into new arrays, see `upramp.kernels.ramp_fit.fit_ramps_into`.
    """
    ni, ny, nx = ramp.data.shape[0], *ramp.frame
    if fit is None:
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
        miri=op.miri,
        threads=threads,
    )
    return fit if fitted else None


def fit_slopes(op, ramp, of_integrations=False, threads=None):
    """Fit slopes of the exposure, and of its integrations if wanted, without errors; the ramp stays as it is.

    Returns
    -------
    RampFit or None
        Slopes and flags; other planes, and those not wanted, have size 0. None if there is nothing to fit.
    """
    ni, ny, nx = ramp.data.shape[0], *ramp.frame
    # The fit changes group flags, and nothing else.
    own = Ramp(ramp.data, ramp.groupdq.copy(), ramp.pixeldq, ramp.zeroframe)
    if op.read_times:
        return RampFit(*fit_likelihood(op, own, threads=threads)[:2])
    planes = []
    for shape in ((ny, nx), (ni, ny, nx) if of_integrations else (0, 0, 0)):
        nothing = np.empty((0,) * len(shape), np.float32)
        planes.append(RatePlanes(np.empty(shape, np.float32), nothing, nothing, nothing, np.empty(shape, np.uint32)))
    return fit_ramps(op, own, threads=threads, fit=RampFit(*planes))


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
        miri=op.miri,
        average_dark_current=native_plane(dark, np.float32, ramp.frame) if len(dark.bits) else None,
        threads=threads,
    )


def _empty_planes(shape):
    return RatePlanes(*(np.empty(shape, np.float32) for _ in range(4)), np.empty(shape, np.uint32))
