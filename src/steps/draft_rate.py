"""Slopes of a ramp that is not finished, to tell background from sources."""

from functools import cached_property

from upramp.models import RampModel
from upramp.steps.ramp_fit import RampFitStep
from upramp.steps.ramp_step import set_missing_flags

__all__ = ["DraftRates", "draft_rates"]


class DraftRates:
    """Slopes of an exposure, or of its integrations.

    Attributes
    ----------
    data : (ny, nx) or (nint, ny, nx) float32
        Slopes [DN/s].
    dq : uint32, of the same shape
        Flags.
    """

    def __init__(self, planes, make_metadata):
        self.data, self.dq = planes.slope, planes.dq
        self._make_metadata = make_metadata

    @cached_property
    def metadata(self):
        """A model of rates with the metadata of these, without arrays."""
        return self._make_metadata()


def draft_rates(step, ramp, of_integrations=False):
    """Fit the slopes of a ramp with the default parameters; the ramp stays as it is.

    Parameters
    ----------
    step : Step
        Who wants them; references come from its run.
    ramp : RampModel
    of_integrations : bool
        Whether their slopes are wanted too.

    Returns
    -------
    rate, rateints : DraftRates
        None for what is not wanted, and both if no ramp can be fitted.
    """
    from upramp.kernels import stepwise

    step.log.info("Fitting draft slopes to find the background")
    draft = RampModel()
    draft.update(ramp)
    for name in ("data", "groupdq", "pixeldq", "zeroframe", "average_dark_current"):
        if ramp.has_array(name):
            setattr(draft, name, getattr(ramp, name))
    set_missing_flags(step, draft, pixeldq="pixel DQ", groupdq="group DQ")
    fitting = RampFitStep("draft_rate", parent=step)
    correction = fitting.correction(draft)
    if correction is None:
        return None, None
    fit = stepwise.fit_slopes(correction, stepwise.Ramp.of(draft), of_integrations)
    if fit is None:
        return None, None

    def metadata(which):
        product = fitting.products(draft)[which]
        fitting.finalize_result(product, fitting.reference_files_used)
        return product

    rate, rateints = (DraftRates(planes, lambda k=k: metadata(k)) for k, planes in enumerate(fit))
    return rate, rateints if of_integrations else None
