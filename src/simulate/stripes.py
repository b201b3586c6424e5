"""Where the lines of a striped readout lie on the detector, and when they are read."""

from dataclasses import dataclass

import numpy as np

from upramp.kernels.stripes import LINES, REFERENCE, StripeLayout, image_span, stripe_layout, stripe_read_times
from upramp.simulate.detectors import Window

__all__ = ["Lines", "Striping"]


@dataclass(frozen=True)
class Lines:
    """Some lines of the detector, in place of a `Window`: numbers of rows or columns, a slice for the other axis."""

    rows: object
    columns: object

    @property
    def shape(self):
        """(ny, nx) of an array of these lines."""
        return len(np.arange(LINES)[self.rows]), len(np.arange(LINES)[self.columns])


class Striping:
    """The stripes of an exposure.

    Parameters
    ----------
    config : SimulationConfig
        With stripes.

    Raises
    ------
    ShapeError
        The stripes do not add up to the window, or leave the detector.
    """

    def __init__(self, config, detector):
        self.config, self.pattern = config, config.stripe_pattern
        self.window = config.geometry
        self.by_row = abs(detector.slowaxis) == 2
        start = self.window.ystart if self.by_row else self.window.xstart
        self.n_lines = self.window.ysize if self.by_row else self.window.xsize
        self.length = self.window.xsize if self.by_row else self.window.ysize
        first = start - 1 if detector.slowaxis > 0 else LINES - start
        self.layout: StripeLayout = stripe_layout(self.pattern, first, self.n_lines, detector.slowaxis)

    def place(self, lines):
        """`Lines` with these numbers."""
        if self.by_row:
            return Lines(lines, self.window.columns)
        return Lines(self.window.rows, lines)

    @property
    def span(self):
        """The `Window` that holds all stripes that see light."""
        first, n = image_span(self.layout)
        return self._window(first, n)

    @property
    def image(self):
        """Where the calibrated image lies: the lines of a substripe readout, the `Window` that superstripes make."""
        if not self.pattern.positions:
            return self.place(self.layout.lines[0])
        return self._window(0, LINES) if self.config.subarray.endswith("STRIPE_SOSS") else self.span

    def _window(self, first, n):
        if self.by_row:
            return Window(self.window.xstart, first + 1, self.window.xsize, n)
        return Window(first + 1, self.window.ystart, n, self.window.ysize)

    def samples(self):
        """When the stripes of a frame are read: (stripes,) float64 [frames after the last one, 1 at its end].

        A substripe readout counts as read at one time.
        """
        if not self.pattern.positions or self.layout.stripe.max() < 1:
            return np.ones(1)
        times = stripe_read_times(self.pattern, self.n_lines, self.length, self.config.outputs, 1)
        return np.array(times)[:, 0] / self.config.frame_time

    def blocks(self, position):
        """Lines of the exposure that are read together: (sample, numbers of the lines) for each time of `samples`."""
        n = len(self.samples())
        stripe = self.layout.stripe[position]
        if n == 1:
            return [(0, np.arange(self.n_lines))]
        # Reference lines have no charge: any time will do.
        return [(r, np.flatnonzero((stripe == r) | ((r == 0) & (stripe == REFERENCE)))) for r in range(n)]
