"""A linear pipeline: near-infrared ramps to slopes, to be stopped and resumed at any step."""

from upramp.framework import LinearPipeline
from upramp.steps import (
    DarkCurrentStep,
    DQInitStep,
    JumpStep,
    LinearityStep,
    RampFitStep,
    RefPixStep,
    SaturationStep,
    SuperBiasStep,
)


class StraightPipeline(LinearPipeline):
    """From raw ramps to slopes, in a straight line."""

    class_alias = "straight"
    pipeline_steps = [  # noqa: RUF012
        ("dq_init", DQInitStep),
        ("saturation", SaturationStep),
        ("superbias", SuperBiasStep),
        ("refpix", RefPixStep),
        ("linearity", LinearityStep),
        ("dark_current", DarkCurrentStep),
        ("jump", JumpStep),
        ("ramp_fit", RampFitStep),
    ]
