"""The history of a model: a list of lines that may be used like the entries of an ASDF file."""

__all__ = ["History", "HistoryEntry"]


class HistoryEntry(str):
    """One line of history; ``entry["description"]`` is the line, too."""

    __slots__ = ()

    def __new__(cls, value):
        """Make a line from a text or from an entry of an ASDF file, a mapping that has a description."""
        if not isinstance(value, str) and hasattr(value, "get"):
            value = value.get("description", "")
        return super().__new__(cls, value)

    def __getitem__(self, key):
        if key == "description":
            return str(self)
        return super().__getitem__(key)

    def get(self, key, default=None):
        """The line for "description"; nothing else is kept."""
        return str(self) if key == "description" else default


class History(list):
    """A list of `HistoryEntry`; whatever is put in becomes one. It equals a list of lines, or of entries of ASDF."""

    def __init__(self, values=()):
        super().__init__(_entries(values))

    def append(self, value):
        """Add a line."""
        super().append(HistoryEntry(value))

    def extend(self, values):
        """Add lines; a single text is one line."""
        super().extend(_entries(values))

    def insert(self, index, value):
        """Insert a line."""
        super().insert(index, HistoryEntry(value))

    def __iadd__(self, values):
        self.extend(values)
        return self

    def __setitem__(self, index, value):
        super().__setitem__(index, _entries(value) if isinstance(index, slice) else HistoryEntry(value))

    def __eq__(self, other):
        if isinstance(other, (str, list, tuple)):
            return list(self) == _entries(other)
        return NotImplemented

    __hash__ = None


def _entries(values):
    return [HistoryEntry(value) for value in ([values] if isinstance(values, str) else values)]
