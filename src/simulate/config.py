"""What to simulate: one frozen dataclass. Effects are switched off by `SimulationConfig.without`."""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from upramp.errors import ConfigError, ShapeError
from upramp.kernels.stripes import StripePattern
from upramp.simulate.detectors import (
    DETECTORS,
    INSTRUMENTS,
    Window,
    find,
    frame_time,
    subarray_window,
)
from upramp.simulate.stripes import Striping

__all__ = ["EFFECTS", "SimulationConfig"]


def _mode(default, help_text, kind=None):
    """A field that says what is taken; ``kind`` is the type of a value when the default has none."""
    return field(default=default, metadata={"help": help_text, "kind": kind or type(default)})


def _size(effect, default, help_text, off=0, kind=None):
    """A field that is the size of an effect; ``off`` is the value at which the effect is absent."""
    metadata = {"help": help_text, "kind": kind or type(default), "effect": effect, "off": off}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class SimulationConfig:
    """Mode of the exposure and size of every effect.

    The help text of each field, with its unit, is in the field's metadata and in ``upramp simulate --help``.
    Rates and levels are in DN of the linearised signal unless they say otherwise; ``gain`` converts to
    electrons. Two seeds: ``detector_seed`` fixes the detector (bias pattern, gain, bad pixels, ...: what
    reference files know), ``seed`` fixes the sky and the noise of this exposure. Every effect draws from a
    stream of its own, so that switching one off leaves the others as they were.

    Raises
    ------
    ConfigError
        A name is not in the tables, a number is out of range, or the window leaves the detector.
    """

    detector: str = _mode("NRCBLONG", "detector: NRCA1 ... NRCBLONG, NIS, NRS1, NRS2, MIRIMAGE, GUIDER1, GUIDER2")
    subarray: str | None = _mode(None, "subarray; GENERIC with a window of one's own [default: a small one]", str)
    window: Window | None = _mode(None, "corner and size: 1-based xstart ystart xsize ysize", Window)  # noqa: RUF009
    stripes: StripePattern | None = _mode(  # noqa: RUF009
        None, "stripes that fill the window: MSTR_RD1 SK1 RD2 SK2 RPT ILV, SSTR_STP NST", StripePattern
    )
    noutputs: int | None = _mode(None, "amplifiers that read the window, 1 or 4 [default: those of the subarray]", int)
    readpatt: str | None = _mode(None, "readout pattern [default: the one of single frames]", str)
    nframes: int | None = _mode(None, "frames averaged in a group [default: those of the pattern]", int)
    groupgap: int | None = _mode(None, "frames dropped between groups [default: those of the pattern]", int)
    frame_divisor: int | None = _mode(None, "on-board divisor of the sum of frames [default: nframes]", int)
    nints: int = _mode(2, "integrations")
    first_integration: int = _mode(1, "number of the first one, from 1: more in a later segment of an exposure")
    exposure_nints: int | None = _mode(None, "integrations of all segments [default: up to the last one here]", int)
    ngroups: int = _mode(10, "groups per integration")
    zero_frame: bool = _mode(False, "also downlink the first frame of every integration")
    seed: int = _mode(1, "seed of sky and noise")
    detector_seed: int = _mode(1, "seed of the detector's properties")
    exposure_type: str | None = _mode(None, "EXP_TYPE [default: the usual one of the instrument]", str)
    start: str = _mode("2024-03-01T12:00:00.000", "UTC start of the exposure")

    gain: float = _mode(1.8, "mean gain [e-/DN]")
    gain_spread: float = _size("gain-spread", 0.01, "pixel-to-pixel spread of the gain [fraction]")
    flat_spread: float = _size("flat", 0.0, "pixel-to-pixel spread of the response to light [fraction]")
    sky_rate: float = _size("sky", 5.0, "sky background [DN/s]")
    star_count: int = _size("stars", 12, "number of stars in the window")
    star_flux: tuple[float, float] = _mode((500.0, 2.0e5), "range of the stars' total rates [DN/s]")
    star_fwhm: float = _mode(2.2, "width of the stars [pixel]")
    poisson: bool = _size("poisson", True, "photon and dark shot noise", off=False)
    read_noise: float = _size("read-noise", 6.0, "noise of one read [DN]")
    bias_level: float = _size("bias", 8000.0, "mean bias [DN]")
    bias_spread: float = _size("bias", 250.0, "pixel-to-pixel spread of the bias [DN]")
    refpix_offset: float = _size("refpix", 8.0, "drift of each amplifier's even and odd columns per frame [DN]")
    one_over_f: float = _size("one-over-f", 3.0, "rms of the 1/f noise, common to all columns of a line [DN]")
    nonlinearity: float = _size("nonlinearity", 0.06, "loss of signal at full well [fraction]")
    full_well: float = _size("saturation", 45000.0, "level above bias at which pixels saturate [DN]", off=float("inf"))
    dark_rate: float = _size("dark", 0.02, "mean dark current [DN/s]")
    dark_settling: float = _size("dark", 2.0, "amplitude of the exponential start of the dark [DN]")
    cosmic_ray_rate: float = _size("cosmic-rays", 1.0e-5, "hits per pixel and second")
    cosmic_ray_charge: float = _mode(800.0, "median charge of a hit [DN]")
    cosmic_ray_neighbour: float = _mode(0.08, "part of a hit's charge in each of the four neighbours")
    snowballs: int = _size("snowballs", 0, "large events per integration")
    snowball_radius: float = _mode(6.0, "mean radius of the saturated core of a large event [pixel]")
    dead_fraction: float = _size("bad-pixels", 0.001, "part of the pixels without response")
    hot_fraction: float = _size("bad-pixels", 0.001, "part of the pixels with a high dark current")
    hot_rate: float = _mode(30.0, "mean dark current of hot pixels [DN/s]")
    bad_reference_fraction: float = _size("bad-pixels", 0.01, "part of the reference pixels with a wrong level")
    reset_anomaly: float = _size("reset", 60.0, "MIRI: amplitude of the transient after a reset [DN]")
    switch_charge: float = _size("rscd", 25.0, "MIRI: deficit after the reset in later integrations [DN]")
    first_frame_offset: float = _size("frame-offsets", 20.0, "MIRI: offset of the first frame [DN]")
    last_frame_offset: float = _size("frame-offsets", 40.0, "MIRI: offset of the last frame [DN]")
    emi: float = _size("emi", 0.0, "MIRI: amplitude of electromagnetic interference [DN]")
    emi_frequency: float = _mode(390.625, "MIRI: frequency of the interference [Hz]")
    persistence: float = _size("persistence", 0.0, "signal of a pixel right after it was saturated, later on [DN/s]")
    persistence_decay: float = _mode(30.0, "time in which this signal decays to 1/e [s]")
    charge_migration: float = _size("charge-migration", 0.0, "part of the charge that goes to the four neighbours")
    charge_migration_level: float = _mode(25000.0, "signal of a pixel from which charge goes there [DN]")
    ipc: float | None = _size("ipc", None, "part of a pixel's signal coupled into each neighbour", None, float)

    def __post_init__(self):
        find(DETECTORS, self.detector, "detector")
        for name in ("subarray", "readpatt", "exposure_type"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.instrument, name))
        find(self.instrument.readout_patterns, self.readpatt, "readpatt")
        if self.window is None:
            find(self.instrument.subarrays, self.subarray, "subarray (without a window of its own)")
        if self.stripe_pattern is None:
            self._check_window()
        else:
            self._check_stripes()
        if self.is_irs2:
            self._check_interleaved()
        for name, value, low in (
            ("nints", self.nints, 1),
            ("first_integration", self.first_integration, 1),
            ("exposure_nints", self.all_integrations, self.first_integration + self.nints - 1),
            ("ngroups", self.ngroups, 1),
            ("nframes", self.frames_per_group, 1),
            ("groupgap", self.frames_dropped, 0),
            ("frame_divisor", self.divisor, 1),
        ):
            if value < low:
                raise ConfigError(f"{name} is {value}; expected at least {low}")
        if not (self.emi_frequency > 0 and self.persistence_decay > 0 and self.charge_migration <= 1):
            raise ConfigError(
                f"emi_frequency is {self.emi_frequency}, persistence_decay {self.persistence_decay}, charge_migration "
                f"{self.charge_migration}; expected more than 0, more than 0, and at most 1"
            )
        if not 0 < self.star_flux[0] <= self.star_flux[1]:
            raise ConfigError(f"star_flux is {self.star_flux}; expected 0 < low <= high")
        for item in fields(self):
            value = getattr(self, item.name)
            if "effect" in item.metadata and value is not None and value < 0:
                raise ConfigError(f"{item.name} is {value}; expected a size of at least 0 ({item.metadata['help']})")

    def _check_interleaved(self):
        detector = DETECTORS[self.detector]
        if self.geometry.shape != detector.shape:
            raise ConfigError(f"readpatt is {self.readpatt}; IRS2 reads full frames of NRS1 or NRS2")
        if self.zero_frame:
            raise ConfigError("zero_frame is True; IRS2 readouts have none")

    def _check_stripes(self):
        try:
            self.striping  # noqa: B018 - raises where the stripes do not fill the window
        except ShapeError as error:
            raise ConfigError(str(error)) from None
        for name in ("ipc", "snowballs", "persistence", "charge_migration"):
            if getattr(self, name):
                raise ConfigError(f"{name} reaches to other lines or integrations; it is not simulated for stripes")
        positions = self.stripe_pattern.positions or 1
        if self.nints % positions or (self.first_integration - 1) % positions:
            raise ConfigError(
                f"nints is {self.nints}, first_integration {self.first_integration}; expected whole sets of the "
                f"{positions} positions of the stripes"
            )
        self._check_outputs()

    def _check_window(self):
        window, detector = self.geometry, DETECTORS[self.detector]
        rows, columns = detector.shape
        for axis, start, length, size in (
            ("x", window.xstart, window.xsize, columns),
            ("y", window.ystart, window.ysize, rows),
        ):
            if start < 1 or length < 1 or start - 1 + length > size:
                raise ConfigError(
                    f"the window covers {axis} = {start}..{start - 1 + length}; expected a part of 1..{size}"
                )
        self._check_outputs()

    def _check_outputs(self):
        window, detector = self.geometry, DETECTORS[self.detector]
        if self.outputs not in (1, 4):
            raise ConfigError(f"noutputs is {self.outputs}; expected 1 or 4")
        fast = window.xsize if abs(detector.fastaxis) == 1 else window.ysize
        if self.outputs == 4 and fast != detector.size and not detector.interleaved:
            raise ConfigError(
                f"noutputs is 4 with lines of {fast} pixels; four outputs read lines of {detector.size} pixels"
            )

    @property
    def instrument(self):
        """Modes of the detector's `Instrument`."""
        return INSTRUMENTS[DETECTORS[self.detector].instrument]

    @property
    def all_integrations(self):
        """Integrations of the whole exposure, of which these may be a segment (NINTS)."""
        return self.exposure_nints or self.first_integration + self.nints - 1

    @property
    def geometry(self):
        """The `Window` that is read."""
        if self.window is not None:
            return self.window
        return subarray_window(DETECTORS[self.detector], self.instrument.subarrays[self.subarray])

    @property
    def stripe_pattern(self):
        """The `StripePattern` of a striped readout, or None."""
        if self.stripes is not None or self.window is not None:
            return self.stripes
        return self.instrument.subarrays[self.subarray].stripes

    @cached_property
    def striping(self):
        """The `Striping` of a striped readout, or None."""
        return None if self.stripe_pattern is None else Striping(self, DETECTORS[self.detector])

    @cached_property
    def image(self):
        """Where the calibrated image lies on the detector: the `Window` that is read, or what stripes make."""
        return self.geometry if self.stripe_pattern is None else self.striping.image

    @property
    def outputs(self):
        """Number of amplifiers in use."""
        if self.noutputs is not None:
            return self.noutputs
        if self.window is not None:
            return 4 if DETECTORS[self.detector].interleaved else 1
        return self.instrument.subarrays[self.subarray].noutputs

    @property
    def is_irs2(self):
        """Whether reference pixels are read between the science pixels (NIRSpec)."""
        return self.readpatt.startswith("NRSIRS2")

    @property
    def frames_per_group(self):
        """Frames averaged in a group (NFRAMES)."""
        return self.instrument.readout_patterns[self.readpatt][0] if self.nframes is None else self.nframes

    @property
    def frames_dropped(self):
        """Frames dropped between groups (GROUPGAP)."""
        return self.instrument.readout_patterns[self.readpatt][1] if self.groupgap is None else self.groupgap

    @property
    def divisor(self):
        """On-board divisor of the sum of a group's frames (FRMDIVSR)."""
        return self.frames_per_group if self.frame_divisor is None else self.frame_divisor

    @property
    def frame_time(self):
        """Time between frames [s] (TFRAME)."""
        return frame_time(DETECTORS[self.detector], self.geometry, self.outputs, self.readpatt)

    @property
    def group_time(self):
        """Time between groups [s] (TGROUP)."""
        return self.frame_time * (self.frames_per_group + self.frames_dropped)

    @property
    def frames_per_integration(self):
        """Frames from the reset to the last frame that is used."""
        return self.ngroups * self.frames_per_group + (self.ngroups - 1) * self.frames_dropped

    def without(self, *effects: str) -> "SimulationConfig":
        """A copy with the named effects off; ``"all"`` switches all of them off.

        Raises
        ------
        ConfigError
            A name is not in `EFFECTS`.
        """
        changes: dict[str, Any] = {}
        for effect in EFFECTS if "all" in effects else effects:
            changes |= find(EFFECTS, effect, "effect")
        return replace(self, **changes)


def _collect_effects():
    effects: dict[str, dict[str, Any]] = {}
    for item in fields(SimulationConfig):
        if "effect" in item.metadata:
            effects.setdefault(item.metadata["effect"], {})[item.name] = item.metadata["off"]
    return effects


#: Effects by name, each with the fields that are its sizes and their values when it is off.
EFFECTS = _collect_effects()
