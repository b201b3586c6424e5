"""The picture of the demonstration: slopes, flags, and one ramp with a cosmic ray."""

import numpy as np

from upramp.models.dqflags import GroupDQ, PixelDQ

__all__ = ["choose_ramp", "draw"]

# Okabe & Ito: told apart by everybody.
_GOOD, _JUMP, _SATURATED, _BAD = "#f2f2f2", "#0072b2", "#e69f00", "#222222"
_FIT, _POINTS, _FLAGGED = "#0072b2", "#222222", "#d55e00"
_CLASSES = (
    ("good", _GOOD),
    ("cosmic ray in a group", _JUMP),
    ("saturated in a group", _SATURATED),
    ("do not use", _BAD),
)
_SKY_SIGMAS, _BRIGHTEST = 5.0, 99.7  # range of the slope image: below the sky, and percentile
_ASINH_LINEAR = 0.02  # part of the range that is shown linearly


def choose_ramp(calibration):
    """The cosmic ray to show: (integration, group, y, x), or None.

    A found hit in the inner third of an integration whose ramp has no other flag, with a charge near the signal that
    the pixel collects, so that both the step and the slope are seen.
    """
    hits, groupdq = calibration.hits, calibration.groupdq
    n_groups = groupdq.shape[1]
    inner = (hits["group"] >= n_groups // 3) & (hits["group"] < n_groups - n_groups // 3)
    best, least = None, np.inf
    for hit in hits[hits["primary"] & inner]:
        i, k, y, x = (int(hit[axis]) for axis in ("integration", "group", "y", "x"))
        flags = groupdq[i, :, y, x]
        if flags[k] != GroupDQ.JUMP_DET or np.count_nonzero(flags) > 1 or calibration.dq[y, x] & PixelDQ.DO_NOT_USE:
            continue
        signal = calibration.true_rate[y, x] * calibration.group_time * n_groups
        difference = abs(np.log(hit["charge"] / signal))
        if difference < least:
            best, least = (i, k, y, x), difference
    return best


def draw(calibration, path, title):
    """Draw the picture.

    Parameters
    ----------
    calibration : Calibration
    path : Path
        PNG file.
    title : str

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(18, 6.3), dpi=130, layout="compressed")
    canvas = FigureCanvasAgg(figure)
    slopes, flags, ramp = figure.subplots(1, 3)
    figure.suptitle(title, fontsize=13)
    chosen = choose_ramp(calibration)
    _draw_slopes(figure, slopes, calibration)
    _draw_flags(flags, calibration)
    _draw_ramp(ramp, calibration, chosen)
    if chosen is not None:
        for axes, colour in ((slopes, "white"), (flags, _FLAGGED)):
            axes.plot(chosen[3], chosen[2], "o", ms=14, mfc="none", mec=colour, mew=1.4)
    canvas.print_png(path)


def _draw_slopes(figure, axes, calibration):
    from astropy.visualization import AsinhStretch, ImageNormalize

    rate = np.where(calibration.dq & PixelDQ.DO_NOT_USE, np.nan, calibration.rate)
    sky = np.nanmedian(rate)
    sigma = 1.4826 * np.nanmedian(np.abs(rate - sky))
    low, high = sky - _SKY_SIGMAS * sigma, max(np.nanpercentile(rate, _BRIGHTEST), sky + 10 * sigma)
    axes.set_facecolor("#808080")  # shows where there is no slope
    image = axes.imshow(
        rate,
        origin="lower",
        interpolation="nearest",
        cmap="inferno",
        norm=ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(_ASINH_LINEAR), clip=False),
    )
    axes.set(title="slope (asinh scale)", xlabel="x [pixel]", ylabel="y [pixel]")
    ticks = [tick for tick in (0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if low < tick < high]
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, ticks=ticks, extend="max")
    bar.ax.minorticks_off()
    bar.set_label("DN/s")


def _draw_flags(axes, calibration):
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    classes = np.zeros(calibration.dq.shape, np.uint8)
    seen = np.bitwise_or.reduce(calibration.groupdq, axis=(0, 1))
    for value, mask in (
        (1, seen & GroupDQ.JUMP_DET),
        (2, seen & GroupDQ.SATURATED),
        (3, calibration.dq & PixelDQ.DO_NOT_USE),
    ):
        classes[mask != 0] = value
    colours = [colour for _, colour in _CLASSES]
    axes.imshow(
        classes,
        origin="lower",
        interpolation="nearest",
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
    )
    counts = np.bincount(classes.ravel(), minlength=len(_CLASSES))
    axes.legend(
        handles=[
            Patch(facecolor=colour, edgecolor="#888888", label=f"{name}: {count:,}")
            for (name, colour), count in zip(_CLASSES, counts, strict=True)
        ],
        loc="lower left",
        fontsize=9,
        framealpha=0.95,
        title="pixels",
    )
    axes.set(title="flags", xlabel="x [pixel]", ylabel="y [pixel]")


def _draw_ramp(axes, calibration, chosen):
    if chosen is None:
        axes.text(0.5, 0.5, "no cosmic ray to show", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    i, hit, y, x = chosen
    samples = calibration.ramp[i, :, y, x].astype(float)
    times = calibration.group_time * (1 + np.arange(samples.size))
    slope, error = calibration.rateints[i, y, x], calibration.rateints_err[i, y, x]
    noise = calibration.read_noise[y, x] / np.sqrt(calibration.frames)
    axes.errorbar(times, samples, noise, fmt="o", ms=5, color=_POINTS, capsize=2, label="groups (bars: read noise)")
    for number, segment in enumerate((slice(0, hit), slice(hit, None))):
        t, s = times[segment], samples[segment]
        ends = np.array([t[0], t[-1]])
        label = None if number else f"fit: {slope:.2f} ± {error:.2f} DN/s"
        axes.plot(ends, s.mean() + slope * (ends - t.mean()), color=_FIT, lw=1.8, label=label)
    axes.plot(times[hit], samples[hit], "o", ms=15, mfc="none", mec=_FLAGGED, mew=2, label="flagged JUMP_DET")
    middle = times[hit] - calibration.group_time / 2
    axes.axvline(middle, color=_FLAGGED, lw=1, ls=":")
    axes.annotate(
        "cosmic ray",
        (middle, samples.max()),
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        color=_FLAGGED,
        fontsize=10,
    )
    axes.plot([], [], " ", label=f"truth: {calibration.true_rate[y, x]:.2f} DN/s")
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    axes.set(
        title=f"ramp of pixel x = {x}, y = {y}, integration {i + 1}",
        xlabel="time since reset [s]",
        ylabel="signal [DN], linear, dark subtracted",
    )
    axes.margins(y=0.08)
    axes.set_box_aspect(1)
