"""The table of our steps and pipelines: what `strun` finds by alias. Nothing is imported to read it."""

__all__ = ["steps"]

_PIPELINES = {
    "calwebb_detector1": "Detector1Pipeline",
    "calwebb_dark": "DarkPipeline",
    "calwebb_guider": "GuiderPipeline",
    "calwebb_image2": "Image2Pipeline",
}

_STEPS = {
    "group_scale": "GroupScaleStep",
    "dq_init": "DQInitStep",
    "emicorr": "EmiCorrStep",
    "saturation": "SaturationStep",
    "ipc": "IPCStep",
    "firstframe": "FirstFrameStep",
    "lastframe": "LastFrameStep",
    "reset": "ResetStep",
    "superbias": "SuperBiasStep",
    "refpix": "RefPixStep",
    "linearity": "LinearityStep",
    "rscd": "RscdStep",
    "dark_current": "DarkCurrentStep",
    "charge_migration": "ChargeMigrationStep",
    "jump": "JumpStep",
    "picture_frame": "PictureFrameStep",
    "clean_flicker_noise": "CleanFlickerNoiseStep",
    "persistence": "PersistenceStep",
    "ramp_fit": "RampFitStep",
    "gain_scale": "GainScaleStep",
    "guider_cds": "GuiderCdsStep",
    "assign_wcs": "AssignWcsStep",
    "flat_field": "FlatFieldStep",
    "photom": "PhotomStep",
}


def steps():
    """List the steps and pipelines of this package (entry point ``stpipe.steps``).

    Returns
    -------
    list of (str, str, bool)
        Full class name, alias, and whether it is a pipeline.
    """
    pipelines = [(f"upramp.pipelines.{name}", alias, True) for alias, name in _PIPELINES.items()]
    return pipelines + [(f"upramp.steps.{name}", alias, False) for alias, name in _STEPS.items()]
