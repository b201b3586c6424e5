"""What the simulator knows about hardware: instruments, detectors, subarrays and readout patterns, as tables.

Another instrument is a matter of more rows here. All corners are 1-based and in the orientation of the
products (DMS), as in the keywords SUBSTRT1/2.
"""

from dataclasses import dataclass

from upramp.errors import ConfigError
from upramp.kernels.stripes import StripePattern

__all__ = ["DETECTORS", "INSTRUMENTS", "Detector", "Instrument", "Subarray", "Window"]

REFERENCE_BORDER = 4
SAMPLE_TIME_US = 10.0
_IRS2_LINE, _IRS2_BETWEEN_FRAMES = 712, 714  # samples of a line, and between frames


@dataclass(frozen=True)
class Detector:
    """One detector: its place in the instrument and the directions in which it is read.

    ``fastaxis`` and ``slowaxis`` are +-1 for x and +-2 for y, as in the keywords of the same name. ``rows`` and
    ``columns`` are given for detectors that are not square. What an instrument does not have (module, channel, filter,
    pupil, grating) is None. With ``interleaved`` amplifiers each reads every fourth column, and reference pixels are at
    the sides only.
    """

    name: str
    instrument: str
    module: str | None
    channel: str | None
    fastaxis: int
    slowaxis: int
    sca_number: int
    filter: str | None
    pupil: str | None = "CLEAR"
    grating: str | None = None
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
    """The modes of an instrument by name, and those that are taken if nothing is said.

    ``readout_patterns`` are the frames averaged in a group and those dropped between groups, by name.
    """

    subarrays: dict
    readout_patterns: dict
    subarray: str
    readpatt: str
    exposure_type: str
    template: str


@dataclass(frozen=True)
class Subarray:
    """A named part of a detector.

    ``xstart`` and ``ystart`` None mean: where the readout starts (a stripe), else the corner. With ``stripes`` the
    sizes are those of the image that the stripes fill, and a start along the slow axis is that of the readout, as in
    the keywords.
    """

    name: str
    xsize: int
    ysize: int
    xstart: int | None
    ystart: int | None
    noutputs: int
    stripes: StripePattern | None = None


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
    return Detector(name, "NIRSPEC", None, None, fastaxis, slowaxis, sca_number, "F290LP", None, "G395H")


def _miri(name, sca_number, filter_name=None):
    return Detector(
        name, "MIRI", None, None, 1, 2, sca_number, filter_name, None, size=1032, rows=1024, columns=1032,
        interleaved=True,
    )  # fmt: skip


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
        _miri("MIRIMAGE", 493, "F770W"),
        Detector("NIS", "NIRISS", None, None, -2, -1, 496, "CLEAR", "F150W"),
        Detector("GUIDER1", "FGS", None, None, -2, -1, 497, None, None),
        Detector("GUIDER2", "FGS", None, None, 2, -1, 498, None, None),
        # New ones come last: the place in this table is part of the seed of the detector.
        _miri("MIRIFULONG", 494),
        _miri("MIRIFUSHORT", 495),
    )
}


def _by_name(*subarrays):
    return {subarray.name: subarray for subarray in subarrays}


_FULL = Subarray("FULL", 2048, 2048, 1, 1, 4)

# Square subarrays of NIRCam and FGS lie in the middle of the detector, away from the reference pixels, which is what
# matters to the pipeline; the corners of the flight subarrays differ by detector.
_NIRCAM_SUBARRAYS = _by_name(
    _FULL,
    Subarray("SUB640", 640, 640, 705, 705, 1),
    Subarray("SUB400P", 400, 400, 1649, 1, 1),
    Subarray("SUB320", 320, 320, 865, 865, 1),
    Subarray("SUB160", 160, 160, 945, 945, 1),
    Subarray("SUB160P", 160, 160, 1889, 1, 1),
    Subarray("SUB64P", 64, 64, 1985, 1, 1),
    Subarray("SUBGRISM256", 2048, 256, 1, None, 4),
    Subarray("SUBGRISM128", 2048, 128, 1, None, 4),
    Subarray("SUBGRISM64", 2048, 64, 1, None, 4),
    Subarray("SUB640A210R", 640, 640, 705, 705, 1),
    Subarray("SUB400X256ALWB", 400, 256, 825, 897, 1),
    Subarray("SUB320A335R", 320, 320, 865, 865, 1),
    Subarray("SUB64FP1A", 64, 64, 993, 993, 1),
    Subarray("SUB32TATS", 32, 32, 1009, 1009, 1),
    Subarray("SUB8FP1A", 8, 8, 1021, 1021, 1),
    Subarray("SUB40STRIPE1_DHS", 2048, 40, 1, None, 4, StripePattern(0, 1527, 40)),
    Subarray("SUB41STRIPE1_DHS", 2048, 41, 1, None, 4, StripePattern(1, 1526, 40, 85, 1, 1)),
    Subarray("SUB80STRIPE2_DHS", 2048, 80, 1, None, 4, StripePattern(0, 1527, 40, 85)),
    Subarray("SUB82STRIPE2_DHS", 2048, 82, 1, None, 4, StripePattern(1, 1526, 40, 85, 1, 1)),
    Subarray("SUB160STRIPE4_DHS", 2048, 160, 1, None, 4, StripePattern(0, 1527, 40, 85)),
    Subarray("SUB164STRIPE4_DHS", 2048, 164, 1, None, 4, StripePattern(1, 1526, 40, 85, 1, 1)),
    Subarray("SUB260STRIPE4_DHS", 2048, 260, 1, None, 4, StripePattern(1, 1514, 64, 61, 1, 1)),
)
_NIRISS_SUBARRAYS = _by_name(
    _FULL,
    Subarray("SUB256", 256, 256, 897, 897, 1),
    Subarray("SUB128", 128, 128, 961, 961, 1),
    Subarray("SUB80", 80, 80, 1045, 1, 1),
    Subarray("SUB64", 64, 64, 993, 993, 1),
    Subarray("SUBTAAMI", 64, 64, 1055, 7, 1),
    Subarray("SUBTASOSS", 64, 64, 865, 1985, 1),
    Subarray("SUBSTRIP256", 2048, 256, 1, 1793, 1),
    Subarray("SUBSTRIP96", 2048, 96, 1, 1803, 1),
    Subarray("SUBAMPCAL", 512, 1792, 1537, 1, 1),
    Subarray("WFSS128R", 128, 2048, None, 1, 4),
    Subarray("WFSS128C", 2048, 128, 1, None, 1),
    Subarray("WFSS64R", 64, 2048, None, 1, 4),
    Subarray("WFSS64C", 2048, 64, 1, None, 1),
    *(
        Subarray(f"SUB{n}STRIPE_SOSS", 4 + n, 256, None, 1793, 1, StripePattern(4, 0, n, 0, 1, 1, n, 2040 // n))
        for n in (17, 60, 204, 680)
    ),
)
_FGS_SUBARRAYS = _by_name(
    _FULL,
    Subarray("SUB128LL", 128, 128, 1, 1, 1),
    Subarray("SUB128CNTR", 128, 128, 961, 961, 1),
    Subarray("SUB32LL", 32, 32, 1, 1, 1),
    Subarray("SUB32CNTR", 32, 32, 1009, 1009, 1),
    Subarray("SUB8CNTR", 8, 8, 1021, 1021, 1),
)
_NIRSPEC_SUBARRAYS = _by_name(
    _FULL,
    Subarray("ALLSLITS", 2048, 256, 1, 897, 1),
    Subarray("SUBS200A1", 2048, 64, 1, 1057, 1),
    Subarray("SUB2048", 2048, 32, 1, 946, 1),
    Subarray("SUB512", 512, 32, 769, 946, 1),
)
# All are read by the four amplifiers.
_MIRI_SUBARRAYS = _by_name(
    Subarray("FULL", 1032, 1024, 1, 1, 4),
    Subarray("BRIGHTSKY", 512, 512, 457, 51, 4),
    Subarray("SUB256", 256, 256, 413, 51, 4),
    Subarray("SUB128", 136, 128, 1, 889, 4),
    Subarray("SUB64", 72, 64, 1, 779, 4),
    Subarray("MASK1065", 288, 224, 1, 19, 4),
    Subarray("SLITLESSPRISM", 72, 416, 1, 529, 4),
)

# name: (frames averaged in a group, frames dropped between groups)
_NIRCAM_PATTERNS = {
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
_NIRISS_PATTERNS = {"NISRAPID": (1, 0), "NIS": (4, 0)}
_FGS_PATTERNS = {"FGSRAPID": (1, 0), "FGS": (2, 0)}
_NIRSPEC_PATTERNS = {"NRSRAPID": (1, 0), "NRS": (4, 0), "NRSIRS2RAPID": (1, 0), "NRSIRS2": (5, 0)}
_MIRI_PATTERNS = {"FASTR1": (1, 0), "SLOWR1": (1, 0)}
_MIRI_SAMPLES = {"FASTR1": (1, 13), "SLOWR1": (9, 11)}  # of a pixel, and besides for each row

INSTRUMENTS = {
    "NIRCAM": Instrument(_NIRCAM_SUBARRAYS, _NIRCAM_PATTERNS, "SUB160", "RAPID", "NRC_IMAGE", "NIRCam Imaging"),
    "NIRISS": Instrument(_NIRISS_SUBARRAYS, _NIRISS_PATTERNS, "SUB128", "NISRAPID", "NIS_IMAGE", "NIRISS Imaging"),
    "FGS": Instrument(_FGS_SUBARRAYS, _FGS_PATTERNS, "SUB128CNTR", "FGSRAPID", "FGS_IMAGE", "FGS External Calibration"),
    "NIRSPEC": Instrument(
        _NIRSPEC_SUBARRAYS, _NIRSPEC_PATTERNS, "SUB2048", "NRSRAPID", "NRS_FIXEDSLIT", "NIRSpec Fixed Slit Spectroscopy"
    ),
    "MIRI": Instrument(_MIRI_SUBARRAYS, _MIRI_PATTERNS, "SUB64", "FASTR1", "MIR_IMAGE", "MIRI Imaging"),
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
            whole = detector.shape[2 - axis]
            against = -axis in (detector.fastaxis, detector.slowaxis)
            first = whole if subarray.stripes is not None and axis == abs(detector.slowaxis) else whole - size + 1
            start = first if against else 1
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
    if readpatt.startswith("NRSIRS2"):
        return (detector.size * _IRS2_LINE + _IRS2_BETWEEN_FRAMES) * SAMPLE_TIME_US * 1e-6
    if detector.interleaved:
        samples, overhead = _MIRI_SAMPLES[readpatt]
        return window.ysize * (window.xsize // noutputs * samples + overhead) * SAMPLE_TIME_US * 1e-6
    fast, slow = window.xsize, window.ysize
    if abs(detector.fastaxis) == 2:
        fast, slow = slow, fast
    single, parallel = (fast + 12) * (slow + 2), (fast // noutputs + 12) * (slow + 1) + 1
    samples = single if noutputs == 1 else parallel
    return samples * SAMPLE_TIME_US * 1e-6
