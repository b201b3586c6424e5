"""The table of modes in the documentation: what a parity run compared with the peer, and how far the two are apart.

Tests call `record` with the products of both; ``python -m pytest tests/parity --all-modes --modes-table docs/modes.md``
then writes the table as a whole, from the rows of that run alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from tests.reference.agreement import relative_difference

__all__ = ["TOLERANCE", "Figures", "compare", "record", "write"]

TOLERANCE = 1e-5
JUMP_DET = 4

_COLUMNS = (
    "mode", "detector", "subarray, rows x columns", "pattern, frames", "integrations x groups", "rates that agree",
    "largest difference", "flags identical", "jumps in both",
)  # fmt: skip
_HEAD = f"""# Modes compared with the reference pipeline

Written as a whole and from one run, `{{command}}`: each row is an exposure that went through `jwst` and through upramp
with the same references. Compared are the products with an image per integration. A rate agrees if it differs by less
than {TOLERANCE:g} of itself or of its error, whichever is larger, or is NaN in both; the largest difference is in the
same units. Flags are those of DQ. Jumps are pixels with JUMP_DET: how many have it in both products, of those that have
it in one of them.

| {" | ".join(_COLUMNS)} |
|{"---|" * len(_COLUMNS)}
"""

_rows = {}


@dataclass(frozen=True)
class Figures:
    """How far two products are apart.

    Attributes
    ----------
    agreeing : float
        Part of the rates that differ by less than `TOLERANCE` or are NaN in both.
    largest : float
        Largest difference in units of the value or its error.
    identical : float
        Part of the pixels with the same flags.
    jumps, common_jumps : int
        Pixels flagged JUMP_DET in one of the products, and in both.
    """

    agreeing: float
    largest: float
    identical: float
    jumps: int
    common_jumps: int


def compare(their_product, our_product):
    """Compare SCI and DQ of two products.

    Parameters
    ----------
    their_product, our_product : path-like
        With SCI, ERR and DQ.

    Returns
    -------
    Figures
    """
    theirs, ours = (_arrays(path) for path in (their_product, our_product))
    assert theirs["SCI"].shape == ours["SCI"].shape
    difference = relative_difference(theirs["SCI"], ours["SCI"], theirs["ERR"])
    same_kind = np.isnan(theirs["SCI"]) == np.isnan(ours["SCI"])
    jumps = [(arrays["DQ"] & JUMP_DET) != 0 for arrays in (theirs, ours)]
    return Figures(
        float(((difference < TOLERANCE) & same_kind).mean()),
        float(difference.max()),
        float((theirs["DQ"] == ours["DQ"]).mean()),
        int((jumps[0] | jumps[1]).sum()),
        int((jumps[0] & jumps[1]).sum()),
    )


def record(mode, their_product, our_product):
    """Compare two products and note the result as the row of a mode.

    Parameters
    ----------
    mode : str
        What the row is about; one row for each.
    their_product, our_product : path-like
        ``_rateints`` (or another product with SCI, ERR and DQ) of the peer and of upramp.

    Returns
    -------
    Figures
    """
    figures = compare(their_product, our_product)
    with fits.open(their_product) as hdus:
        header, shape = hdus[0].header, hdus["SCI"].shape
    agreeing, identical = (_percent(part) for part in (figures.agreeing, figures.identical))
    _rows[mode] = " | ".join(
        (
            f"{mode} | {header['INSTRUME']} {header['DETECTOR']}",
            f"{header['SUBARRAY']}, {shape[-2]} x {shape[-1]}",
            f"{header['READPATT']}, {header['NFRAMES']}",
            f"{header['NINTS']} x {header['NGROUPS']}",
            agreeing,
            f"{figures.largest:.1e}",
            identical,
            f"{figures.common_jumps} of {figures.jumps}",
        )
    )
    return figures


def write(path, command):
    """Write the table of everything recorded so far, sorted by mode; ``command`` is the one that ran."""
    rows = "".join(f"| {_rows[mode]} |\n" for mode in sorted(_rows))
    Path(path).write_text(_HEAD.format(command=command) + rows)


def _arrays(path):
    with fits.open(path) as hdus:
        return {name: np.array(hdus[name].data) for name in ("SCI", "ERR", "DQ")}


def _percent(part):
    """A part as a percentage that is 100 only if nothing is missing."""
    text = f"{100 * part:.4f}"
    return "100 %" if part == 1 else f"{min(text, '99.9999', key=float)} %"
