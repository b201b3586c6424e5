"""persistence: flag groups of pixels that remember a bright source."""

from pathlib import Path

import numpy as np

from upramp.errors import ConfigError
from upramp.kernels.corrections import Persistence
from upramp.kernels.persistence import flags_of_persistence
from upramp.models import read_asdf_tree, write_asdf_tree
from upramp.steps.ramp_step import RampStep, require, science_frame

__all__ = ["PersistenceStep"]

UNIX_EPOCH = 40587.0  # MJD
DAY = 86400.0  # [s]


class PersistenceStep(RampStep):
    """Flag pixels for some time after they were saturated, or above a threshold, in this and later exposures.

    A file (ASDF) hands the times over to the next exposure of the detector: ``{detector: {"rows", "cols", "vals",
    "pers_time", "filename"}}``, with the pixels that remember, and until when [s since 1970].
    """

    class_alias = "persistence"
    spec = """
    save_persistence       = string(default=None)    # File for the times until which pixels remember
    persistence_time       = integer(default=None)   # For how long pixels remember, s
    dn_threshold           = float(default=None)     # Signals above it are remembered too, DN
    persistence_array_file = string(default=None)    # File with times from an earlier exposure
    persistence_dnu        = boolean(default=False)  # Flag DO_NOT_USE too
    skip                   = boolean(default=True)   # Skip this step
    """

    def correction(self, ramp):
        """Times of all groups, and what pixels remember from before; without a time nothing can be flagged."""
        if self.persistence_time is None or self.persistence_time <= 0:
            self.log.warning(
                "Step %s failed: persistence_time is %s; expected a positive number of seconds",
                self.name, self.persistence_time,
            )  # fmt: skip
            self.persistence_time = None
            self._set_status(ramp, "FAILED")
            return None
        until, times = np.zeros(science_frame(ramp)), _group_times(ramp)
        if self.persistence_array_file is not None:
            self._remember(until, ramp.meta.instrument.detector)
            too_late = int((until > times[0, 0] + self.persistence_time).sum())
            if too_late:
                self.log.info(
                    "Backwards flagging found. %d pixels of %s remember what came after this exposure: forgotten",
                    too_late, self.persistence_array_file,
                )  # fmt: skip
        threshold = np.nan if self.dn_threshold is None else float(self.dn_threshold)
        flags = flags_of_persistence(self.persistence_dnu)
        return Persistence(True, until, times, float(self.persistence_time), threshold, flags)

    def _remember(self, until, detector):
        """Take times from the file, if it has them for this detector and the same duration."""
        path = Path(self.persistence_array_file)
        if not path.exists():
            self.log.info("%s does not exist: nothing is remembered from earlier exposures", path)
            return
        entry = read_asdf_tree(path).get(detector)
        if entry is None:
            self.log.info("%s has no times for %s: nothing is remembered from earlier exposures", path, detector)
        elif entry["pers_time"] != self.persistence_time:
            self.log.info(
                "The time of %s, %s s, does not equal persistence_time, %s s: nothing is remembered",
                path, entry["pers_time"], self.persistence_time,
            )  # fmt: skip
        else:
            rows, columns = (np.asarray(entry[name]) for name in ("rows", "cols"))
            if rows.size and (rows.max() >= until.shape[0] or columns.max() >= until.shape[1]):
                raise ConfigError(
                    f"persistence_array_file {path} has pixels up to row {rows.max()} and column {columns.max()} of "
                    f"{detector}; the exposure has {until.shape[0]} rows and {until.shape[1]} columns: it is for "
                    "another subarray"
                )
            until[rows, columns] = entry["vals"]

    def process(self, data):
        """Flag the groups: changes the flags only."""
        from upramp.kernels import stepwise

        ramp = self.open_ramp(data)
        correction = self.correction(ramp)
        if correction is not None:
            stepwise.apply(correction, stepwise.Ramp.of(ramp))
            self.record_complete(ramp)
            self.save_times(ramp, correction.until)
        return ramp

    def save_times(self, ramp, until):
        """Write the times after the last group to ``save_persistence``; those of other detectors in it stay.

        Parameters
        ----------
        ramp : RampModel
        until : (ny, nx) float64
            [s since 1970], 0 where a pixel does not remember.
        """
        if self.save_persistence is None:
            return
        path = Path(self.save_persistence).with_suffix(".asdf")
        tree = read_asdf_tree(path) if path.exists() else {}
        rows, columns = np.nonzero(until)
        tree[ramp.meta.instrument.detector] = {
            "filename": ramp.meta.filename,
            "rows": rows,
            "cols": columns,
            "vals": until[rows, columns],
            "pers_time": self.persistence_time,
        }
        write_asdf_tree(tree, path)
        self.log.info("Saved the times until which %d pixels remember in %s", len(rows), path)


def _group_times(ramp):
    """When the groups end [s since 1970]: (nint, ngroup) float64.

    Integrations start when INT_TIMES says so; those that it lacks follow from the start of the exposure.
    """
    (group_time,) = require(ramp, TGROUP="meta.exposure.group_time")
    table = ramp.int_times
    starts = [] if table is None else (np.asarray(table["int_start_MJD_UTC"]) - UNIX_EPOCH) * DAY
    times = np.empty(ramp.shape[:2])
    for i in range(len(times)):
        if i < len(starts):
            now = starts[i]
        else:
            start, length = require(
                ramp, EXPSTART="meta.exposure.start_time", EFFINTTM="meta.exposure.integration_time"
            )
            now = (start - UNIX_EPOCH) * DAY + i * length
        for g in range(times.shape[1]):
            now = now + group_time
            times[i, g] = now
    return times
