"""What the scripts here share that measure something and show it on a page: tables, pictures, and their places."""

import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#cc79a7", "#009e73")


def colours_of(methods):
    """A colour for each method, and a grey one for "before"."""
    return {"before": "0.6"} | dict(zip(methods, COLOURS, strict=False))


def table(headings, rows):
    """A table in Markdown, from texts."""
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|---" * len(headings) + "|", *lines[1:]])


def methods_table(heading, methods, measures, name_of):
    """What each method has left: a row for each of the measures (numbers by method), named by a function of its key."""
    names = ["before", *methods]
    rows = [
        [name_of(key, found), *(f"{found[name]:.2f}" if name in found else "" for name in names)]
        for key, found in measures.items()
    ]
    return table([heading, *names], rows)


def put_into_page(page, place, text):
    """Write a text to its place in a page: between the comments ``place`` and ``end of place``."""
    pattern = rf"(<!-- {place} -->\n).*(\n<!-- end of {place} -->)"
    new, count = re.subn(pattern, lambda m: f"{m[1]}\n{text}\n{m[2]}", page.read_text(), flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{page} has no place for the table of {place}")
    page.write_text(new)


def images_and_plots(images, titles, reach, label, n_plots, width):
    """A figure with images beside one another, and axes for plots.

    Parameters
    ----------
    images : sequence of three (ny, nx) float
        About 0.
    titles : sequence of str
    reach : float
        Of the colours, to both sides.
    label : str
        Of the colours.
    n_plots : int
    width : float
        Of the figure [inch].

    Returns
    -------
    figure, axes of the plots
    """
    ratios = (1, 1, 1, *(n_plots * [1.35]))
    figure, axes = plt.subplots(1, 3 + n_plots, figsize=(width, 3.4), layout="constrained", width_ratios=ratios)
    for axis, image, title in zip(axes, images, titles, strict=False):
        shown = axis.imshow(image, vmin=-reach, vmax=reach, origin="lower", cmap="viridis")
        axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[:3], label=label, shrink=0.8)
    return figure, axes[3:]
