"""guider_cds: count rates of guide-star exposures."""

import numpy as np

from upramp.errors import ReferenceFileError, UnsupportedModeError
from upramp.models import GainModel, GuiderCalModel, GuiderRawModel, ReadnoiseModel
from upramp.steps.ramp_step import plane, require
from upramp.steps.reference_step import ReferenceStep

__all__ = ["GUIDE_STAR_TYPES", "GuiderCdsStep"]

# EXP_TYPE of the functions of the guiders.
GUIDE_STAR_TYPES = ("FGS_ID-IMAGE", "FGS_ID-STACK", "FGS_ACQ1", "FGS_ACQ2", "FGS_TRACK", "FGS_FINEGUIDE")

TABLES = ("planned_star_table", "flight_star_table", "pointing_table", "centroid_table", "track_sub_table")


class GuiderCdsStep(ReferenceStep):
    """Turn the groups of a guide-star exposure into count rates."""

    class_alias = "guider_cds"
    reference_file_types = ("gain", "readnoise")

    def process(self, data):
        """Rates of the integrations; one image for the identification of the guide star."""
        from upramp.kernels import guider_cds as kernel

        raw = self.prepare_output(data, open_as=GuiderRawModel)
        exp_type, group_time = require(raw, EXP_TYPE="meta.exposure.type", TGROUP="meta.exposure.group_time")
        if exp_type not in GUIDE_STAR_TYPES:
            raise UnsupportedModeError(f"EXP_TYPE is {exp_type}; guider_cds takes {', '.join(GUIDE_STAR_TYPES)}")
        planes = []
        for reftype, model_class in (("gain", GainModel), ("readnoise", ReadnoiseModel)):
            reference = self.open_reference(raw, reftype, model_class)
            if reference is None:
                return raw
            planes.append(self._on_exposure(reference, raw))
        mode = kernel.TWO_GROUPS
        if exp_type == "FGS_FINEGUIDE":
            mode = kernel.FINE_GUIDING
        elif exp_type.startswith("FGS_ID"):
            mode = kernel.IDENTIFICATION
        rates = kernel.guider_count_rates(raw.data, *planes, mode, group_time)
        result = GuiderCalModel(rates.rate)
        result.err, result.dq = rates.err, raw.dq
        for table in TABLES:
            if raw.has_array(table):
                setattr(result, table, getattr(raw, table))
        result.update(raw)
        result.meta.bunit_data = "DN/s"
        return self.record_complete(result)

    def _on_exposure(self, reference, raw):
        """Values of a reference on the pixels of the exposure: (ny, nx) float32.

        Stacked strips of an identification are no part of the detector; where the reference does not cover them they
        get its mean (reference behaviour).
        """
        from upramp.kernels.stepwise import native_plane

        frame = raw.shape[-2:]
        try:
            return native_plane(plane(reference, "data", raw, np.float32), np.float32, frame)
        except ReferenceFileError:
            if raw.meta.exposure.type != "FGS_ID-STACK":
                raise
            self.log.info("%s does not cover the stacked strips; they get its mean", reference.meta.filename)
            return np.full(frame, reference.data.mean(), np.float32)
