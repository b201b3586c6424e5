"""Objects in ASDF documents (transforms, a WCS, units): made and written by the asdf library, when somebody asks."""

import io

from upramp.models import _asdf_document as document

__all__ = ["to_object", "to_tagged"]


def to_object(tagged):
    """The object that a tagged value of a document stands for.

    Parameters
    ----------
    tagged : TaggedValue
        From `parse_document`, arrays included.

    Returns
    -------
    object
        What the converter of its tag makes of it.
    """
    import asdf  # takes 0.5 s to import, and what makes a WCS a second more

    content = document.compose_document({"value": tagged})
    with asdf.open(io.BytesIO(content), lazy_load=False, memmap=False) as file:
        return file["value"]


def to_tagged(value):
    """The opposite: what stands in a document for an object. Arrays in it stand in the document too."""
    import asdf

    buffer = io.BytesIO()
    asdf.AsdfFile({"value": value}).write_to(buffer, all_array_storage="inline")
    return document.parse_document(buffer.getvalue(), "an object")[0]["value"]
