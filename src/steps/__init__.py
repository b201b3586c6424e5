"""The steps, one per file. A class is imported when it is asked for."""

from importlib import import_module

_MODULES = {
    "AssignWcsStep": "assign_wcs",
    "ChargeMigrationStep": "charge_migration",
    "CleanFlickerNoiseStep": "clean_flicker_noise",
    "DQInitStep": "dq_init",
    "DarkCurrentStep": "dark_current",
    "EmiCorrStep": "emicorr",
    "FirstFrameStep": "firstframe",
    "FlatFieldStep": "flat_field",
    "GainScaleStep": "gain_scale",
    "GroupScaleStep": "group_scale",
    "GuiderCdsStep": "guider_cds",
    "IPCStep": "ipc",
    "JumpStep": "jump",
    "LastFrameStep": "lastframe",
    "LinearityStep": "linearity",
    "PersistenceStep": "persistence",
    "PictureFrameStep": "picture_frame",
    "PhotomStep": "photom",
    "RampFitStep": "ramp_fit",
    "RefPixStep": "refpix",
    "ResetStep": "reset",
    "RscdStep": "rscd",
    "SaturationStep": "saturation",
    "SuperBiasStep": "superbias",
}

__all__ = sorted(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
