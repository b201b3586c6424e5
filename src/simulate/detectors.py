"""What the simulator knows about hardware: detectors, subarrays and readout patterns, as tables.

Another instrument is a matter of more rows here. All corners are 1-based and in the orientation of the
products (DMS), as in the keywords SUBSTRT1/2.
"""

from dataclasses import dataclass

from upramp.errors import ConfigError

__all__ = [
    "DETECTORS",
    "INSTRUMENTS",
    "MIRI_READOUT_PATTERNS",
    "MIRI_SUBARRAYS",
    "READOUT_PATTERNS",
    "SUBARRAYS",
    "Detector",
    "Instrument",
    "Subarray",
    "Window",
]

REFERENCE_BORDER = 4
SAMPLE_TIME_US = 10.0


@dataclass(frozen=True)
class Detector:
    """One detector: its place in the instrument and the directions in which it is read.

    ``fastaxis`` and ``slowaxis`` are +-1 for x and +-2 for y, as in the keywords of the same name. ``rows`` and
    ``columns`` are given for detectors that are not square; ``module`` and ``channel`` None where there are none.
    With ``interleaved`` amplifiers each reads every fourth column, and reference pixels are at the sides only.
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
    rows: int | None = None
    columns: int | None = None
    interleaved: bool = False

    @property
    def shape(self):
        """(ny, nx) of the detector."""
        return self.rows or self.size, self.columns or self.size


@dataclass(frozen=True)
class Instrument:
    """The modes of an instrument by name, and those that are taken if nothing is said."""

    subarrays: dict
    readout_patterns: dict
    subarray: str
    readpatt: str
    exposure_type: str


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
        Detector(
            "MIRIMAGE", "MIRI", None, None, 1, 2, 493, "F770W", size=1032, rows=1024, columns=1032, interleaved=True
        ),
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
}


# All are read by the four amplifiers.
MIRI_SUBARRAYS = {
    subarray.name: subarray
    for subarray in (
        Subarray("FULL", 1032, 1024, 1, 1, 4),
        Subarray("BRIGHTSKY", 512, 512, 457, 51, 4),
        Subarray("SUB256", 256, 256, 413, 51, 4),
        Subarray("SUB128", 136, 128, 1, 889, 4),
        Subarray("SUB64", 72, 64, 1, 779, 4),
        Subarray("MASK1065", 288, 224, 1, 19, 4),
        Subarray("SLITLESSPRISM", 72, 416, 1, 529, 4),
    )
}

MIRI_READOUT_PATTERNS = {"FASTR1": (1, 0), "SLOWR1": (1, 0)}
_MIRI_SAMPLES = {"FASTR1": (1, 13), "SLOWR1": (9, 11)}  # of a pixel, and besides for each row

INSTRUMENTS = {
    "NIRCAM": Instrument(SUBARRAYS, READOUT_PATTERNS, "SUB160", "RAPID", "NRC_IMAGE"),
    "MIRI": Instrument(MIRI_SUBARRAYS, MIRI_READOUT_PATTERNS, "SUB64", "FASTR1", "MIR_IMAGE"),
}


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
            start = detector.shape[2 - axis] - size + 1 if -axis in (detector.fastaxis, detector.slowaxis) else 1
        starts.append(start)
    return Window(*starts, subarray.xsize, subarray.ysize)


def samples_per_pixel(readpatt):
    """How often a pixel is sampled in one read (NSAMPLES)."""
    return _MIRI_SAMPLES.get(readpatt, (1, 0))[0]


def frame_time(detector, window, noutputs, readpatt):
    """Time to read the window once [s].

    Source: JWST user documentation, "NIRCam Detector Subarrays": 12 samples of overhead per line, one line per
    frame (two with a single output). "MIRI Detector Readout Overview" for full frames of MIRI; rows beside a subarray
    are taken to be skipped in no time, which the instrument does not.
    """
    if detector.interleaved:
        samples, overhead = _MIRI_SAMPLES[readpatt]
        return window.ysize * (window.xsize // noutputs * samples + overhead) * SAMPLE_TIME_US * 1e-6
    fast, slow = window.xsize, window.ysize
    if abs(detector.fastaxis) == 2:
        fast, slow = slow, fast
    single, parallel = (fast + 12) * (slow + 2), (fast // noutputs + 12) * (slow + 1) + 1
    samples = single if noutputs == 1 else parallel
    return samples * SAMPLE_TIME_US * 1e-6
