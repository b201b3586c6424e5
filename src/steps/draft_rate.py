"""Slopes of a ramp that is not finished, to tell background from sources."""

from upramp.models import RampModel
from upramp.steps.ramp_fit import RampFitStep

__all__ = ["draft_rates"]


def draft_rates(step, ramp):
    """Fit the slopes of a ramp with the default parameters; the ramp stays as it is.

    Parameters
    ----------
    step : Step
        Who wants them; references come from its run.
    ramp : RampModel

    Returns
    -------
    rate, rateints : ImageModel, CubeModel
        None for both if no ramp can be fitted.
    """
    step.log.info("Fitting draft slopes to find the background")
    draft = RampModel()
    draft.update(ramp)
    # The fit changes group flags, and nothing else.
    draft.data, draft.groupdq, draft.pixeldq = ramp.data, ramp.groupdq.copy(), ramp.pixeldq
    for name in ("zeroframe", "average_dark_current"):
        if ramp.has_array(name):
            setattr(draft, name, getattr(ramp, name))
    rate, rateints = RampFitStep("draft_rate", parent=step).process(draft)
    return (None, None) if rateints is None else (rate, rateints)
