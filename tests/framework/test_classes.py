"""Finding step classes: aliases, packages, dotted names; the registry."""

import pytest

from upramp import registry
from upramp.errors import ConfigError
from upramp.framework import classes


def test_registry_has_unique_names_and_aliases():
    table = registry.steps()
    assert len({name for name, _, _ in table}) == len({alias for _, alias, _ in table}) == len(table)
    assert ("upramp.pipelines.Detector1Pipeline", "calwebb_detector1", True) in table


def test_our_alias_wins_and_packages_can_be_named():
    assert classes.class_name_of_alias("jump") == "upramp.steps.JumpStep"
    assert classes.class_name_of_alias("upramp::jump") == "upramp.steps.JumpStep"
    assert classes.class_name_of_alias("nosuch") is None
    assert classes.class_name_of_alias("nosuch::jump") is None


def test_other_packages_are_found_by_entry_point():
    pytest.importorskip("jwst")
    assert classes.class_name_of_alias("jwst::jump") == "jwst.step.JumpStep"
    assert classes.class_name_of_alias("extract_1d") == "jwst.step.Extract1dStep"


def test_dotted_names(tiny):
    assert classes.find_class("tiny_steps.AddStep") is tiny.AddStep
    for wrong in ("tiny_steps.Nothing", "nowhere.Nothing", "AddStep", "a b.c", ""):
        with pytest.raises(ConfigError, match="is not a path to a config file or a Python Step class"):
            classes.find_class(wrong)
    with pytest.raises(ConfigError, match="is not a subclass"):
        classes.find_class("collections.OrderedDict")


def test_what_may_have_been_meant(monkeypatch):
    with pytest.raises(ConfigError, match="did you mean 'calwebb_detector1'?"):
        classes.find_class("calweb_detector1")
    with pytest.raises(ConfigError, match=r"not_here is not installed\? Ours is upramp.pipelines.Detector1Pipeline"):
        classes.find_class("not_here.pipeline.Detector1Pipeline")


def test_a_step_of_stpipe_is_refused_by_name():
    pytest.importorskip("stpipe")
    with pytest.raises(classes.PeerStepError, match="'stpipe.Pipeline' is a step of stpipe"):
        classes.find_class("stpipe.Pipeline")


def test_an_error_inside_the_module_is_not_hidden(workdir, monkeypatch):
    (workdir / "broken_steps.py").write_text("import a_module_that_does_not_exist\n")
    monkeypatch.syspath_prepend(str(workdir))
    with pytest.raises(ModuleNotFoundError, match="a_module_that_does_not_exist"):
        classes.find_class("broken_steps.Step")


def test_names_of_classes(tiny):
    assert classes.full_name(tiny.AddStep) == "tiny_steps.AddStep"
