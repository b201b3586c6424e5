"""Stand-ins for packages that an import drags in."""

import subprocess
import sys
import textwrap
from importlib import import_module

import pytest

from upramp.framework.deferred import deferred


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A package ``weighty`` with a module, and ``nimble``, which imports both."""
    weighty = tmp_path / "weighty"
    weighty.mkdir()
    (weighty / "__init__.py").write_text("NUMBER = 7\n")
    (weighty / "shapes.py").write_text("class Square:\n    SIDES = 4\n    def __init__(self, a):\n        self.a = a\n")
    (tmp_path / "nimble.py").write_text(
        "import weighty\nimport weighty.shapes\nfrom weighty import shapes\nfrom weighty.shapes import Square\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("nimble", "weighty", "weighty.shapes"):
        sys.modules.pop(name, None)


def light():
    with deferred("weighty"):
        return import_module("nimble")


def test_nothing_is_imported_before_it_is_used(packages):
    nimble = light()
    assert "weighty" not in sys.modules
    assert not isinstance(3, nimble.Square)
    assert "weighty" not in sys.modules
    assert nimble.weighty.NUMBER == 7
    assert "weighty" in sys.modules


def test_what_stands_in_does_what_the_real_thing_does(packages):
    nimble = light()
    square = nimble.Square(5)
    import weighty.shapes

    assert type(square) is weighty.shapes.Square
    assert square.a == 5
    assert nimble.Square.SIDES == nimble.shapes.Square.SIDES == 4
    assert isinstance(square, nimble.Square)
    assert not isinstance(5, nimble.Square)
    assert isinstance(nimble.weighty.shapes.Square(1), weighty.shapes.Square)
    with pytest.raises(AttributeError):
        _ = nimble.weighty.absent


def test_packages_that_are_there_stay_as_they_are(packages):
    import weighty.shapes

    nimble = light()
    assert nimble.weighty is weighty
    assert nimble.Square is weighty.shapes.Square


def test_imports_are_as_ever_afterwards_even_after_an_error(packages):
    finders = list(sys.meta_path)
    with pytest.raises(ModuleNotFoundError), deferred("weighty"):
        import nimble
        import no_such_module_anywhere  # noqa: F401

        assert nimble
    assert sys.meta_path == finders
    assert "weighty" not in sys.modules
    assert import_module("weighty").NUMBER == 7


def test_the_client_of_crds_is_imported_lightly():
    """Also a guard: the command line waits for what this client imports."""
    code = """
    import sys
    from upramp.framework import references
    references.import_client_lightly()
    crds = references._imported_client()
    assert not {"asdf", "astropy", "stdatamodels"} & set(sys.modules)
    from crds.core.timestamp import parse_date
    moment = parse_date("1999-12-21T05:42:35")
    from astropy.time import Time
    assert parse_date(Time("1999-12-21T05:42:35")) == moment
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
