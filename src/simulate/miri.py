"""What only MIRI does: transients after a reset, groups at the ends of a ramp, and references for these.

All of it is added to the measured level, before the conversion to numbers:

* the reset anomaly, which decays over the first frames, stronger in the first integration (reference ``reset``);
* the reset switch charge decay: in later integrations the first frames are low (reference ``rscd``: leave them out);
* an offset of the first frame and one of the last frame of every integration (steps rscd and lastframe).

The amplitudes of pixels differ by some percent. Reference pixels take part in the reset anomaly only.
"""

import numpy as np
from astropy.io import fits

from upramp.simulate.detector_maps import normal_map
from upramp.simulate.detectors import INSTRUMENTS

__all__ = ["SKIPPED_GROUPS", "ResetEffects", "write_miri_references"]

RESET_DECAY_FRAMES = 3.0
RESET_SPREAD = 0.1
LATER_RESET = 0.5  # reset anomaly of later integrations, in units of that of the first
SWITCH_DECAY_FRAMES = 1.5
RESET_GROUPS = 15
RESET_INTEGRATIONS = 2
DARK_INTEGRATIONS = 2
SKIPPED_GROUPS = (1, 4)  # of the first integration, and of later ones


class ResetEffects:
    """Disturbances of one detector, by integration and frame.

    Parameters
    ----------
    config : SimulationConfig
    maps : DetectorMaps
    """

    def __init__(self, config, maps):
        self.config = config
        self.amplitude = 1 + RESET_SPREAD * normal_map(config, "reset")
        self.sensitive = ~maps.reference_pixels

    def reset_anomaly(self, integration, frame):
        """Level that the reset leaves, ``integration`` counted from 0 in the exposure: (ny, nx) float32 [DN]."""
        size = self.config.reset_anomaly * (1.0 if integration == 0 else LATER_RESET)
        return self.amplitude * np.float32(size * np.exp(-(frame + 1) / RESET_DECAY_FRAMES))

    def level(self, integration, frame):
        """All disturbances of a frame: (ny, nx) float32 [DN]."""
        config = self.config
        offset = config.first_frame_offset if frame == 0 else 0.0
        offset += config.last_frame_offset if frame == config.frames_per_integration - 1 else 0.0
        if integration > 0:
            offset -= config.switch_charge * np.exp(-(frame + 1) / SWITCH_DECAY_FRAMES)
        return self.reset_anomaly(integration, frame) + np.where(self.sensitive, np.float32(offset), np.float32(0))


def write_miri_references(writer, dark_groups):
    """Write the references that only MIRI has, and its dark.

    Parameters
    ----------
    writer : object
        That of `upramp.simulate.references`, for the exposure's own window.
    dark_groups : int
        Groups (of one frame) of the dark.

    Returns
    -------
    dict of str to Path
    """
    config, maps = writer.config, writer.maps
    effects = ResetEffects(config, maps)
    frames = range(min(RESET_GROUPS, config.frames_per_integration))
    reset = np.array([[effects.reset_anomaly(i, frame) for frame in frames] for i in range(RESET_INTEGRATIONS)])
    reset[..., writer.chosen("nan_dark")] = np.nan
    readpatt = ("READPATT", config.readpatt, "Readout pattern")
    keywords = [
        readpatt,
        ("NGROUPS", len(frames), "Number of groups in integration"),
        ("NINTS", RESET_INTEGRATIONS, "Number of integrations in exposure"),
    ]
    paths = {
        "reset": writer.write("reset", "ResetModel", [_image(reset), *writer.dq_hdus(writer.empty_dq())], keywords),
        "rscd": writer.write("rscd", "RSCDModel", [_skip_table()]),
    }
    dark = np.array([[maps.dark(frame, config.frame_time) for frame in range(dark_groups)]] * DARK_INTEGRATIONS)
    dark = dark.astype(np.float32)
    dark[..., writer.chosen("nan_dark")] = np.nan
    dq, definition = writer.dq_hdus(writer.empty_dq())
    dq.data = np.repeat(dq.data[np.newaxis, np.newaxis], DARK_INTEGRATIONS, axis=0)
    keywords = [
        ("EXP_TYPE", config.exposure_type, "Type of data in the exposure"),
        readpatt,
        ("NFRAMES", 1, "Number of frames per group"),
        ("NGROUPS", dark_groups, "Number of groups in integration"),
        ("GROUPGAP", 0, "Number of frames dropped between groups"),
    ]
    paths["dark"] = writer.write("dark", "DarkMIRIModel", [_image(dark), dq, definition], keywords)
    return paths


def _skip_table():
    """Groups to leave out; of the subarrays only those read in FASTR1 are known."""
    modes = [(subarray, "FASTR1") for subarray in INSTRUMENTS["MIRI"].subarrays] + [("FULL", "SLOWR1")]
    rows = [(*mode, *SKIPPED_GROUPS) for mode in modes]
    dtype = [("subarray", "S17"), ("readpatt", "S12"), ("group_skip1", ">i4"), ("group_skip", ">i4")]
    return fits.BinTableHDU(np.array(rows, dtype), name="RSCD_GROUP_SKIP", ver=1)


def _image(array):
    return fits.ImageHDU(np.ascontiguousarray(array, np.float32), name="SCI", ver=1)
