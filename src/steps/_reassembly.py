"""Put the stripes of a superstripe readout together: arrays, tables and keywords of the ordinary ramp."""

import numpy as np

from upramp.kernels._flags import REFERENCE_PIXEL
from upramp.kernels.stripes import LINES, image_span, reassemble, stripe_read_times
from upramp.models import RampModel
from upramp.models.stripes import line_axis, stripe_pattern, stripes_of

__all__ = ["reassembled"]

# Subarrays whose images are as long as the detector, whatever part of it is read.
WHOLE_LENGTH = ("SUB17STRIPE_SOSS", "SUB60STRIPE_SOSS", "SUB204STRIPE_SOSS", "SUB680STRIPE_SOSS")
_KEYWORDS_OF_STRIPES = (
    "multistripe_reads1", "multistripe_reads2", "multistripe_skips1", "multistripe_skips2", "repeat_stripe",
    "interleave_reads1", "num_superstripe", "superstripe_step",
)  # fmt: skip


def reassembled(stripes):
    """The ramp that a superstripe readout makes.

    Parameters
    ----------
    stripes : SuperstripeRampModel
        As refpix leaves it.

    Returns
    -------
    RampModel
        A new one. Pixels that no stripe covers are NaN, with REFERENCE_PIXEL among the pixel flags. Repeats of a stripe
        become groups, whose times are in ``meta.exposure.read_times``.

    Notes
    -----
    Reference behaviour.
    """
    layout, axis = stripes_of(stripes), line_axis(stripes)
    first, n_lines = (0, LINES) if stripes.meta.subarray.name in WHOLE_LENGTH else image_span(layout)
    place = {"layout": layout, "first": first, "n_lines": n_lines, "axis": axis}
    ramp = RampModel()
    ramp.update(stripes)
    ramp.data = reassemble(stripes.data, fill=np.nan, **place)
    ramp.groupdq = reassemble(stripes.groupdq, fill=0, **place)
    ramp.pixeldq = reassemble(stripes.pixeldq, fill=REFERENCE_PIXEL, by_group=False, **place)[0]
    if stripes.has_array("zeroframe"):
        ramp.zeroframe = reassemble(stripes.zeroframe, fill=np.nan, by_group=False, **place)
    _set_times(ramp, stripes, layout, axis)
    _set_keywords(ramp, layout, axis, first)
    return ramp


def _set_times(ramp, stripes, layout, axis):
    """Tables of the integrations, and times of repeats within a group."""
    positions = len(layout.lines)
    if stripes.has_array("int_times") and len(stripes.int_times):
        number = _rounded_up(ramp.meta.exposure.integration_start or 1, positions)
        ramp.int_times_stripe, ramp.int_times = _tables(stripes.int_times, positions, number, ramp)
    if layout.stripe.max() > 0:
        exposure, shape = stripes.meta.exposure, stripes.shape[-2:]
        ramp.meta.exposure.read_times = stripe_read_times(
            stripe_pattern(stripes), shape[axis], shape[-3 - axis], exposure.noutputs or 1, exposure.ngroups,
            exposure.nframes or 1, exposure.groupgap or 0,
        )  # fmt: skip


def _tables(times, positions, number, ramp):
    """Times of every stripe, and of the integrations that they make, which count from ``number``."""
    n = len(times) // positions
    of_stripes = np.zeros(n * positions, ramp.get_dtype("int_times_stripe"))
    of_stripes["integration_number"] = np.repeat(np.arange(n) + number, positions)
    of_stripes["stripe_number"] = np.tile(np.arange(positions) + 1, n)
    of_integrations = np.zeros(n, times.dtype)
    of_integrations["integration_number"] = np.arange(n) + number
    for scale in ("MJD_UTC", "BJD_TDB"):
        for point in ("start", "mid", "end"):
            of_stripes[f"int_{point}_{scale}"] = times[f"int_{point}_{scale}"][: n * positions]
        start = times[f"int_start_{scale}"][::positions][:n]
        end = times[f"int_end_{scale}"][positions - 1 :: positions][:n]
        of_integrations[f"int_start_{scale}"], of_integrations[f"int_end_{scale}"] = start, end
        of_integrations[f"int_mid_{scale}"] = (end - start) / 2.0 + start
    return of_stripes, of_integrations


def _set_keywords(ramp, layout, axis, first):
    """The keywords of an ordinary ramp in the place of those of its stripes."""
    exposure, subarray, positions = ramp.meta.exposure, ramp.meta.subarray, len(layout.lines)
    last = exposure.integration_end if exposure.integration_end is not None else exposure.nints
    exposure.integration_start = _rounded_up(exposure.integration_start or 1, positions)
    exposure.integration_end = _rounded_up(last, positions)
    exposure.nints = _rounded_up(exposure.nints, positions)
    exposure.ngroups = ramp.shape[1]
    subarray.ysize, subarray.xsize = ramp.shape[-2:]
    for name in _KEYWORDS_OF_STRIPES:
        setattr(subarray, name, None)
    setattr(subarray, "ystart" if axis == -2 else "xstart", first + 1)


def _rounded_up(number, positions):
    return -(-number // positions)
