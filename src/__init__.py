"""upramp: stage-1 calibration of infrared-detector exposures with compiled, streaming kernels.

Rooms, in the direction in which imports point: `upramp.kernels` (arrays in, arrays out),
`upramp.models` (files), `upramp.framework` (Step, Pipeline, strun), `upramp.steps`,
`upramp.pipelines`. `upramp.simulate` makes exposures with known truth.
"""

__version__ = "0.1.0"
