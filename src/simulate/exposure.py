"""From a configuration to raw groups: frames are simulated one by one and averaged as on board.

The signal chain of one frame: Poisson charge (light and dark) and events -> inter-pixel coupling -> saturation of
the linear signal -> non-linearity -> + bias + drift of amplifiers and odd/even columns + 1/f + read noise ->
rounded to 16 bits. Saturation is a limit of the measured level, reached from the linear side. MIRI adds the effects of
its resets (`upramp.simulate.miri`), and interference, to the bias. What is off by default is in
`upramp.simulate.optional_effects`.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from upramp.kernels.stripes import LINES
from upramp.simulate.config import SimulationConfig
from upramp.simulate.detector_maps import DetectorMaps, detector_maps, random_stream
from upramp.simulate.detectors import DETECTORS
from upramp.simulate.irs2 import INTERLEAVED_SHAPE, interleaved_frame
from upramp.simulate.miri import ResetEffects
from upramp.simulate.optional_effects import ChargeTrails, Interference, migrated
from upramp.simulate.scene import cosmic_rays, rate_image, snowball_charge, snowballs

__all__ = ["Exposure", "Truth", "simulate_exposure"]

ADC_MAX = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Truth:
    """What a perfect pipeline would find.

    Attributes
    ----------
    rate : (ny, nx) float32
        Light that the pixel records [DN/s of linear signal]; 0 for dead and reference pixels.
    saturation_group : (nint, ny, nx) int16
        First group of which any frame reached full well; ngroups if none did. Pixels of the raw groups.
    cosmic_rays : (n,) COSMIC_RAY_DTYPE
        For a striped readout the line (y, or x where columns are lines) is that of the detector, from 0.
    snowballs : (n,) SNOWBALL_DTYPE
    maps : DetectorMaps
    """

    rate: np.ndarray
    saturation_group: np.ndarray
    cosmic_rays: np.ndarray
    snowballs: np.ndarray
    maps: DetectorMaps


@dataclass(frozen=True)
class Exposure:
    """A simulated exposure.

    Attributes
    ----------
    config : SimulationConfig
    data : (nint, ngroup, ny, nx) uint16
        Raw groups [DN]; an IRS2 readout has 3200 rows instead of the 2048 of the detector.
    zeroframe : (nint, ny, nx) uint16 or None
        First frame of every integration [DN].
    truth : Truth
    """

    config: SimulationConfig
    data: np.ndarray
    zeroframe: np.ndarray | None
    truth: Truth

    @cached_property
    def integration_starts(self):
        """Start of every integration [s after the start of the exposure]: (nint,) float64.

        Every integration follows a reset, which takes a frame time.
        """
        length = self.config.frames_per_integration * self.config.frame_time
        numbers = np.arange(self.config.nints) + self.config.first_integration - 1
        return self.config.frame_time + numbers * (length + self.config.frame_time)


def simulate_exposure(config):
    """Simulate an exposure with known truth.

    Parameters
    ----------
    config : SimulationConfig

    Returns
    -------
    Exposure
        Depends on the configuration alone (generator: Philox, one stream per effect and integration).

    Notes
    -----
    A group is the sum of its frames divided by the on-board divisor, without remainder. Time in an integration
    starts with the reset: frame k is read at (k + 1) frame times, the same for all pixels.
    Memory: the raw data, and about 110 bytes per pixel.
    """
    maps = detector_maps(config)
    if config.striping is None:
        rate = np.where(maps.responsive, rate_image(config) * maps.response, 0.0)
        kind = _Integration
    else:
        scene = StripedScene(config)
        rate = scene.rate(config.image, maps)
        kind = partial(StripedIntegration, scene)
    shape = config.geometry.shape
    read_shape = INTERLEAVED_SHAPE if config.is_irs2 else shape
    data = np.empty((config.nints, config.ngroups, *read_shape), np.uint16)
    zeroframe = np.empty((config.nints, *shape), np.uint16) if config.zero_frame else None
    saturation_group = np.full((config.nints, *shape), config.ngroups, np.int16)
    effects = []
    if DETECTORS[config.detector].instrument == "MIRI":
        effects = [ResetEffects(config, maps), *([Interference(config)] if config.emi else [])]
    trails = ChargeTrails(config, shape) if config.persistence else None

    def integrate(i):
        # Segments of an exposure differ: random streams belong to the integrations of the exposure.
        number = config.first_integration - 1 + i
        integration = kind(config, maps, rate, number, effects, trails)
        integration.rays["integration"] = integration.balls["integration"] = i
        first = integration.read_groups(data[i], saturation_group[i])
        if zeroframe is not None:
            zeroframe[i] = first
        return integration.hits(), integration.balls

    rays, balls = map(np.concatenate, zip(*map(integrate, range(config.nints)), strict=True))
    truth = Truth(rate.astype(np.float32), saturation_group, rays, balls, maps)
    return Exposure(config, data, zeroframe, truth)


class _Integration:
    """The state of the detector during one integration."""

    def __init__(self, config, maps, rate, index, effects, trails):
        self.config, self.maps, self.rate = config, maps, rate
        self.rays, self.balls = cosmic_rays(config, maps.responsive, index), snowballs(config, index)
        self.effects, self.number, self.trails = effects, index, trails
        # Every integration follows a reset, which takes a frame time.
        self.start = config.frame_time * (1 + index * (config.frames_per_integration + 1))
        if trails is not None:
            trails.begin_integration()
        self.charge = np.zeros(rate.shape)  # light, dark and events [DN of linear signal]
        full_well = np.where(np.isfinite(maps.full_well), maps.full_well, 0.0)
        self.full_well = np.where(np.isfinite(maps.full_well), full_well + maps.curvature * full_well**2, np.inf)
        self.frame = -1  # the last one for which charge has been collected
        self.shot_noise = random_stream(config.seed, "poisson", index)
        self.read_noise = random_stream(config.seed, "read noise", index)
        self.drift = random_stream(config.seed, "refpix", index)
        self.lines = None if config.is_irs2 else _one_over_f(config, index)

    def read_groups(self, groups, saturation_group):
        """Fill (ngroup, ny, nx) groups and the group of saturation; returns the first frame, uint16."""
        config, first = self.config, None
        step = config.frames_per_group + config.frames_dropped
        total = np.empty(groups.shape[1:], np.uint32)
        for group in range(config.ngroups):
            total[:] = 0
            for frame in range(group * step, group * step + config.frames_per_group):
                total += self.read(frame)
                first = total.astype(np.uint16) if first is None else first
            groups[group] = total // np.uint32(config.divisor)
            np.minimum(saturation_group, group, out=saturation_group, where=self.saturated())
        return first

    def hits(self):
        """The cosmic rays, for the truth."""
        return self.rays

    def saturated(self):
        """Pixels that have reached full well: (ny, nx) bool."""
        return self.charge >= self.full_well

    def collect(self, frame):
        """Add what arrives until the given frame is read."""
        config, maps = self.config, self.maps
        dark = maps.dark(frame, config.frame_time)
        if self.frame > -1:
            dark -= maps.dark(self.frame, config.frame_time)
        expected = self.rate * ((frame - self.frame) * config.frame_time) + dark
        before = self.charge.copy() if config.charge_migration else None
        now = self.start + (frame + 1) * config.frame_time
        if self.trails is not None:
            then = self.start + (self.frame + 1) * config.frame_time
            expected += np.where(maps.responsive, self.trails.charge(then, now), 0.0)
        if config.poisson:
            self.charge += self.shot_noise.poisson(expected * maps.gain) / maps.gain
        else:
            self.charge += expected
        new = self.rays[(self.rays["frame"] > self.frame) & (self.rays["frame"] <= frame)]
        np.add.at(self.charge, (new["y"], new["x"]), new["charge"])
        for ball in self.balls[(self.balls["frame"] > self.frame) & (self.balls["frame"] <= frame)]:
            self.charge += np.where(maps.responsive, snowball_charge(ball, self.charge.shape), 0)
        if config.charge_migration:
            part, level = config.charge_migration, config.charge_migration_level
            self.charge = migrated(self.charge, before, part, level, maps.responsive)
        if self.trails is not None:
            self.trails.note(self.charge >= self.full_well, now)
        self.frame = frame

    def level(self, frame):
        """What is to be read in a frame, without the drifts and noise of reading: (ny, nx) float64."""
        self.collect(frame)
        config, maps = self.config, self.maps
        linear = np.minimum(self.charge, self.full_well)
        if config.ipc is not None:
            linear = _couple_neighbours(linear, maps.reference_pixels, config.ipc)
        # The root of linear = measured + curvature * measured**2, written so that curvature 0 is harmless.
        signal = 2 * linear / (1 + np.sqrt(1 + 4 * maps.curvature * linear))
        signal += maps.bias
        for effect in self.effects:
            signal += effect.level(self.number, frame)
        return signal

    def noise_of_pixels(self):
        """Noise of one read of each pixel: (ny, nx) [DN]."""
        return self.maps.read_noise

    def read(self, frame):
        """One frame as the converter delivers it: (ny, nx) uint16."""
        config, signal, noise = self.config, self.level(frame), self.noise_of_pixels()
        if config.is_irs2:
            if config.read_noise:
                signal += noise * self.read_noise.standard_normal(signal.shape, dtype=np.float32)
            return _digitize(interleaved_frame(config, signal, self.number, frame))
        signal += _amplifier_offsets(config, self.drift)
        signal += self.lines[frame][:, None] if _lines_are_rows(config) else self.lines[frame][None, :]
        if config.read_noise:
            signal += noise * self.read_noise.standard_normal(signal.shape, dtype=np.float32)
        return _digitize(signal)


class StripedScene:
    """What a striped readout sees: the light on all lines between the first stripe and the last one."""

    def __init__(self, config):
        self.span = config.striping.span
        self.image = rate_image(config, self.span.shape)

    def rate(self, place, maps):
        """Light that pixels record [DN/s]: those that see any are within the span, but for the lines before stripes."""
        out = np.zeros(place.shape)
        rows, columns = (np.arange(LINES)[part] for part in (place.rows, place.columns))
        rows, columns = rows - self.span.ystart + 1, columns - self.span.xstart + 1
        inside = np.ix_(*((part >= 0) & (part < n) for part, n in zip((rows, columns), self.image.shape, strict=True)))
        light = self.image[np.ix_(rows[inside[0].ravel()], columns[inside[1].ravel()])]
        out[inside] = light
        return np.where(maps.responsive, out * maps.response, 0.0)


class StripedIntegration(_Integration):
    """An integration of stripes: charge is collected once in each line, however often the line is read."""

    def __init__(self, scene, config, maps, rate, index, effects, trails):
        striping = config.striping
        position = index % len(striping.layout.lines)
        lines = striping.layout.lines[position]
        self.lines_read, self.line_of = np.unique(lines, return_inverse=True)
        self.blocks, self.samples = striping.blocks(position), striping.samples()
        self.axis = 0 if striping.by_row else 1
        place = striping.place(self.lines_read)
        maps = detector_maps(config, place)
        super().__init__(config, maps, scene.rate(place, maps), index, effects, trails)

    def _of_readout(self, array):
        return np.take(array, self.line_of, axis=self.axis)

    def hits(self):
        rays = self.rays.copy()
        name = "y" if self.axis == 0 else "x"
        rays[name] = self.lines_read[rays[name]]
        return rays

    def saturated(self):
        return self._of_readout(super().saturated())

    def noise_of_pixels(self):
        return self._of_readout(self.maps.read_noise)

    def level(self, frame):
        """Each stripe is read at its own time in the frame."""
        signal = None
        for sample, lines in self.blocks:
            now = self._of_readout(super().level(frame + self.samples[sample] - 1))
            signal = now if signal is None else signal
            if self.axis == 0:
                signal[lines] = now[lines]
            else:
                signal[:, lines] = now[:, lines]
        return signal


def _digitize(signal):
    return np.clip(np.rint(signal, out=signal), 0, ADC_MAX, out=signal).astype(np.uint16)


def _couple_neighbours(linear, is_reference, coupling):
    """Give a part of every pixel's signal to each of its four neighbours, among pixels that see light."""
    signal = np.where(is_reference, 0.0, linear)
    padded = np.pad(signal, 1)
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return np.where(is_reference, linear, (1 - 4 * coupling) * signal + coupling * neighbours)


def _lines_are_rows(config):
    return abs(DETECTORS[config.detector].fastaxis) == 1


def _amplifier_offsets(config, stream):
    """Offset of one frame by amplifier and parity: broadcasts to (ny, nx) [DN].

    The parity is that of the detector column, or of the row where the amplifiers are interleaved.
    """
    detector, window = DETECTORS[config.detector], config.geometry
    offsets = config.refpix_offset * stream.standard_normal((detector.amplifiers, 2))
    if detector.interleaved:
        rows, columns = np.mgrid[window.rows, window.columns]
        return offsets[columns % detector.amplifiers, rows % 2]
    fast = window.columns if _lines_are_rows(config) else window.rows
    columns = np.arange(fast.start, fast.stop)
    width = detector.size // detector.amplifiers
    amplifier = columns // width if config.outputs == detector.amplifiers else np.zeros_like(columns)
    line = offsets[amplifier, columns % 2]
    return line[None, :] if _lines_are_rows(config) else line[:, None]


def _one_over_f(config, integration):
    """Correlated noise of every line of every frame: (nframes, nlines) float64 [DN].

    One stream in time over the whole integration with a power spectrum 1/f, so that drifts go on from frame to
    frame; its rms over the integration is ``config.one_over_f``.
    """
    window = config.geometry
    n_lines = window.ysize if _lines_are_rows(config) else window.xsize
    n = config.frames_per_integration * n_lines
    if not config.one_over_f or n < 2:
        return np.zeros((config.frames_per_integration, n_lines))
    stream = random_stream(config.seed, "1/f", integration)
    frequency = np.fft.rfftfreq(n)
    spectrum = stream.standard_normal((frequency.size, 2)) @ np.array([1, 1j])
    spectrum[1:] /= np.sqrt(frequency[1:])
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n)
    noise *= config.one_over_f / noise.std()
    lines = noise.reshape(config.frames_per_integration, n_lines)
    # Lines are read in the direction of the slow axis.
    return lines if DETECTORS[config.detector].slowaxis > 0 else lines[:, ::-1]
