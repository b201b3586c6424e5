"""What the simulator knows about hardware: detectors, subarrays and readout patterns, as tables.

Another instrument is a matter of more rows here. All corners are 1-based and in the orientation of the
products (DMS), as in the keywords SUBSTRT1/2.
"""

from dataclasses import dataclass

from upramp.errors import ConfigError

__all__ = ["DETECTORS", "READOUT_PATTERNS", "SUBARRAYS", "Detector", "Subarray", "Window"]

REFERENCE_BORDER = 4
SAMPLE_TIME_US = 10.0
# An IRS2 frame: 2048 lines of 712 samples, and 714 samples between frames.
IRS2_FRAME_TIME = (2048 * 712 + 714) * SAMPLE_TIME_US * 1e-6


@dataclass(frozen=True)
class Detector:
    """One detector: its place in the instrument and the directions in which it is read.

    ``fastaxis`` and ``slowaxis`` are +-1 for x and +-2 for y, as in the keywords of the same name.
    """

    name: str
    instrument: str
    module: str | None
    channel: str | None
    fastaxis: int
    slowaxis: int
    sca_number: int
    filter: str
    size: int = 2048
    amplifiers: int = 4
    pupil: str | None = "CLEAR"
    grating: str | None = None


@dataclass(frozen=True)
class Subarray:
    """A named part of a detector.

    ``xstart`` and ``ystart`` None mean: where the readout starts (a stripe), else the corner.
    """

    name: str
    xsize: int
    ysize: int
    xstart: int | None
    ystart: int | None
    noutputs: int


@dataclass(frozen=True)
class Window:
    """The part of the detector that is read: 1-based corner and size, x before y."""

    xstart: int
    ystart: int
    xsize: int
    ysize: int

    @property
    def shape(self):
        """(ny, nx) of the window."""
        return self.ysize, self.xsize

    @property
    def columns(self):
        """Slice of the window in a full-frame array, axis 1."""
        return slice(self.xstart - 1, self.xstart - 1 + self.xsize)

    @property
    def rows(self):
        """Slice of the window in a full-frame array, axis 0."""
        return slice(self.ystart - 1, self.ystart - 1 + self.ysize)


def _nircam(name, module, channel, fastaxis, slowaxis, sca_number):
    return Detector(
        name, "NIRCAM", module, channel, fastaxis, slowaxis, sca_number, "F200W" if channel == "SHORT" else "F444W"
    )


def _nirspec(name, fastaxis, slowaxis, sca_number):
    return Detector(name, "NIRSPEC", None, None, fastaxis, slowaxis, sca_number, "F290LP", pupil=None, grating="G395H")


DETECTORS = {
    detector.name: detector
    for detector in (
        _nircam("NRCA1", "A", "SHORT", -1, 2, 481),
        _nircam("NRCA2", "A", "SHORT", 1, -2, 482),
        _nircam("NRCA3", "A", "SHORT", -1, 2, 483),
        _nircam("NRCA4", "A", "SHORT", 1, -2, 484),
        _nircam("NRCALONG", "A", "LONG", -1, 2, 485),
        _nircam("NRCB1", "B", "SHORT", 1, -2, 486),
        _nircam("NRCB2", "B", "SHORT", -1, 2, 487),
        _nircam("NRCB3", "B", "SHORT", 1, -2, 488),
        _nircam("NRCB4", "B", "SHORT", -1, 2, 489),
        _nircam("NRCBLONG", "B", "LONG", 1, -2, 490),
        _nirspec("NRS1", 2, 1, 491),
        _nirspec("NRS2", -2, -1, 492),
    )
}

# Square subarrays lie in the middle of the detector, away from the reference pixels, which is what
# matters to the pipeline; the corners of the flight subarrays differ by detector.
SUBARRAYS = {
    subarray.name: subarray
    for subarray in (
        Subarray("FULL", 2048, 2048, 1, 1, 4),
        Subarray("SUB640", 640, 640, 705, 705, 1),
        Subarray("SUB400P", 400, 400, 1649, 1, 1),
        Subarray("SUB320", 320, 320, 865, 865, 1),
        Subarray("SUB160", 160, 160, 945, 945, 1),
        Subarray("SUB160P", 160, 160, 1889, 1, 1),
        Subarray("SUB64P", 64, 64, 1985, 1, 1),
        Subarray("SUBGRISM256", 2048, 256, 1, None, 4),
        Subarray("SUBGRISM128", 2048, 128, 1, None, 4),
        Subarray("SUBGRISM64", 2048, 64, 1, None, 4),
        # NIRSpec
        Subarray("ALLSLITS", 2048, 256, 1, 897, 1),
        Subarray("SUBS200A1", 2048, 64, 1, 1057, 1),
        Subarray("SUB2048", 2048, 32, 1, 946, 1),
        Subarray("SUB512", 512, 32, 769, 946, 1),
    )
}

# name: (frames averaged in a group, frames dropped between groups)
READOUT_PATTERNS = {
    "RAPID": (1, 0),
    "BRIGHT1": (1, 1),
    "BRIGHT2": (2, 0),
    "SHALLOW2": (2, 3),
    "SHALLOW4": (4, 1),
    "MEDIUM2": (2, 8),
    "MEDIUM8": (8, 2),
    "DEEP2": (2, 18),
    "DEEP8": (8, 12),
    "NRSRAPID": (1, 0),
    "NRS": (4, 0),
    "NRSIRS2RAPID": (1, 0),
    "NRSIRS2": (5, 0),
}


# EXP_TYPE of an exposure that does not say.
EXPOSURE_TYPES = {"NIRCAM": "NRC_IMAGE", "NIRSPEC": "NRS_FIXEDSLIT"}


def find(table, name, what):
    """The row of a table, or a ConfigError that lists the names there are."""
    try:
        return table[name]
    except KeyError:
        raise ConfigError(f"{what} is {name!r}; expected one of {', '.join(table)}") from None


def subarray_window(detector, subarray):
    """Window of a named subarray; a stripe starts at the edge from which the detector is read."""
    starts = []
    for axis, start, size in ((1, subarray.xstart, subarray.xsize), (2, subarray.ystart, subarray.ysize)):
        if start is None:
            start = detector.size - size + 1 if -axis in (detector.fastaxis, detector.slowaxis) else 1
        starts.append(start)
    return Window(*starts, subarray.xsize, subarray.ysize)


def frame_time(detector, window, noutputs):
    """Time to read the window once [s].

    Source: JWST user documentation, "NIRCam Detector Subarrays": 12 samples of overhead per line, one line per
    frame (two with a single output).
    """
    fast, slow = window.xsize, window.ysize
    if abs(detector.fastaxis) == 2:
        fast, slow = slow, fast
    single, parallel = (fast + 12) * (slow + 2), (fast // noutputs + 12) * (slow + 1) + 1
    samples = single if noutputs == 1 else parallel
    return samples * SAMPLE_TIME_US * 1e-6
