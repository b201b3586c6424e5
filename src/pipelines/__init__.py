"""The pipelines: which steps, in which order."""

__all__ = ["Detector1Pipeline"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from upramp.pipelines.detector1 import Detector1Pipeline

    return Detector1Pipeline
