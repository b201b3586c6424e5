"""Data quality bits of a reference: from the values of its DQ_DEF table to the standard flags, and back."""

import logging

import numpy as np

from upramp.models.dqflags import PixelDQ

__all__ = ["DQTable"]

log = logging.getLogger(__name__)


class DQTable:
    """The bits of a DQ_DEF table.

    Parameters
    ----------
    rows : structured ndarray
        Columns VALUE (integer) and NAME (string). Names that are no standard flag are reported and left out.
    origin : str, optional
        Name of the file, for the report; without it nothing is reported.

    Attributes
    ----------
    values, flags : tuple of int
        Value in the file and standard flag of every row with a known name other than GOOD.
    """

    def __init__(self, rows, origin=None):
        pairs = []
        for value, name in zip(rows["VALUE"], rows["NAME"], strict=True):
            flag = PixelDQ.__members__.get(name.strip())
            if flag is None and origin is not None:
                log.warning(
                    "%s: DQ_DEF names %s, which is no data quality flag; its bit (%d) is ignored",
                    origin,
                    name.strip(),
                    value,
                )
            elif flag and value:
                pairs.append((int(value), int(flag)))
        self.values = tuple(value for value, _ in pairs)
        self.flags = tuple(flag for _, flag in pairs)
        self.defined = len(rows) > 0

    def is_identity_for(self, dq):
        """Whether `to_standard` would return the same values: standard bits only, all of them in the table."""
        if not self.defined:
            return True
        if self.values != self.flags:
            return False
        present = int(np.bitwise_or.reduce(dq, axis=None)) if dq.size else 0
        return present & ~sum(set(self.values)) == 0

    def to_standard(self, dq):
        """Standard flags for an array of file values; bits without a row in the table are dropped."""
        return _exchange(dq, self.values, self.flags) if self.defined else dq

    def from_standard(self, dq):
        """File values for an array of standard flags; flags without a row in the table are dropped."""
        return _exchange(dq, self.flags, self.values) if self.defined else dq


def _exchange(dq, sources, targets):
    """Array with the bits ``targets[i]`` wherever ``dq & sources[i]``; few pixels of a detector have any."""
    result = np.zeros(dq.shape, np.uint32)
    marked = np.flatnonzero(dq)
    old = dq.ravel()[marked].astype(np.uint32)
    new = np.zeros_like(old)
    for source, target in zip(sources, targets, strict=True):
        new[old & np.uint32(source) != 0] |= np.uint32(target)
    result.ravel()[marked] = new
    return result
