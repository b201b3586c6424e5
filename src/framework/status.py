"""What a model says about the steps that it has been through, for steps that do not record it by themselves."""

__all__ = ["query_step_status", "record_step_status"]

_KNOWN = ("COMPLETE", "SKIPPED", "FAILED")
_NOT_SET = "NOT SET"


def record_step_status(model, name, success=True, status=None):
    """Record the status of a step in a model, or in all models of a list.

    Parameters
    ----------
    model : model or sequence of models
        Changed in place.
    name : str
        Name below ``meta.cal_step``, such as ``"jump"``.
    success : bool
        COMPLETE or FAILED, when no `status` is given.
    status : str, optional
        COMPLETE, SKIPPED or FAILED.

    Raises
    ------
    ValueError
        It is another status.
    """
    if status is None:
        status = "COMPLETE" if success else "FAILED"
    if status not in _KNOWN:
        raise ValueError(f"Step status {status} not in allowed values: {', '.join(_KNOWN)}")
    for one in model if isinstance(model, list | tuple) else [model]:
        setattr(one.meta.cal_step, name, status)


def query_step_status(model, name):
    """The status of a step that a model, or the first one of a list, has recorded; ``"NOT SET"`` without one.

    Parameters
    ----------
    model : model or sequence of models
    name : str
        Name below ``meta.cal_step``.

    Returns
    -------
    str
    """
    first = model[0] if isinstance(model, list | tuple) else model
    return getattr(first.meta.cal_step, name, None) or _NOT_SET
