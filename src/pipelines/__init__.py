"""The pipelines: which steps, in which order. A class is imported when it is asked for."""

from importlib import import_module

_MODULES = {
    "DarkPipeline": "dark",
    "Detector1Pipeline": "detector1",
    "GuiderPipeline": "guider",
    "Image2Pipeline": "image2",
    "SloperPipeline": "detector1",
}

__all__ = sorted(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
