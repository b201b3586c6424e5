"""Reference files: overrides, CRDS from an offline cache, missing ones."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from upramp.errors import ReferenceFileError, ReferenceNotFoundError
from upramp.framework.references import crds_is_reachable, override_name, steppars_disabled
from upramp.models import ImageModel

PARS = """#ASDF 1.0.0
#ASDF_STANDARD 1.5.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
--- !core/asdf-1.1.0
history:
  entries:
  - !core/history_entry-1.0.0 {{description: made, time: 2026-01-01 00:00:00}}
class: {step}
name: {name}
parameters: {{{parameters}}}
steps: {steps}
...
"""


def _pars(step, name, parameters="", steps="[]"):
    return PARS.format(step=step, name=name, parameters=parameters, steps=steps)


@pytest.fixture
def gain(workdir):
    path = workdir / "gain.fits"
    path.write_text("gain")
    return path


@pytest.fixture
def image():
    model = ImageModel(np.ones((2, 2), dtype=np.float32))
    model.meta.instrument.name = "NIRCAM"
    return model


def test_override_names():
    assert override_name("gain") == "override_gain"
    with pytest.raises(ValueError, match="not a reference type"):
        override_name("a-b")


@pytest.mark.parametrize("value", ["1", "TRUE", "true", "t", "Yes", "y"])
def test_parameter_references_can_be_switched_off(monkeypatch, value):
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", value)
    assert steppars_disabled()
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "")
    assert not steppars_disabled()


def test_no_crds_is_noticed_without_its_client(monkeypatch, crds_cache):
    assert not crds_is_reachable()
    crds_cache({})
    assert crds_is_reachable()
    monkeypatch.setenv("CRDS_PATH", "/nowhere")
    monkeypatch.setenv("CRDS_SERVER_URL", "https://example.org")
    assert crds_is_reachable()


def test_override_by_path(tiny, image, gain):
    step = tiny.GainStep(override_gain="gain.fits")
    result = step.run(image)
    assert step.found == {"gain": str(gain)}
    assert result.meta.ref_file.gain.name == str(gain)
    assert result.meta.ref_file.crds.context_used is None


def test_override_na_is_recorded_and_skips(tiny, image):
    step = tiny.GainStep(override_gain="N/A")
    result = step.run(image)
    assert result.meta.ref_file.gain.name == "N/A"
    assert result.meta.cal_step.linearity == "SKIPPED"


def test_override_from_a_parameter_file_starts_at_the_current_folder(tiny, image, gain, workdir):
    (workdir / "folder").mkdir()
    (workdir / "folder" / "g.cfg").write_text("class = tiny_steps.GainStep\noverride_gain = gain.fits\n")
    step = tiny.GainStep.from_config_file("folder/g.cfg")
    step.run(image)
    assert step.found == {"gain": str(gain)}


def test_override_na_in_small_letters_is_a_file(tiny, image):
    with pytest.raises(ReferenceNotFoundError, match="n/a: No such file or directory"):
        tiny.GainStep(override_gain="n/a").run(image)


def test_run_asks_neither_crds_nor_a_file(tiny, image, monkeypatch, workdir):
    (workdir / "AddStep.cfg").write_text("n = 3\n")
    monkeypatch.setattr("upramp.framework.references._client", lambda: pytest.fail("CRDS was asked"))
    assert (tiny.AddStep().run(image).data == 5).all()


def test_empty_override_is_not_recorded(tiny, image):
    step = tiny.GainStep(override_gain="")
    result = step.run(image)
    assert step.found == {"gain": ""}
    assert result.meta.ref_file.gain.name is None


def test_override_by_model_also_in_a_pipeline(tiny, image):
    reference = ImageModel((2, 2))
    step = tiny.GainStep(override_gain=reference)
    assert step.run(image).meta.ref_file.gain.name == "override://ImageModel"
    assert step.found["gain"] is reference
    pipe = tiny.OuterPipeline(steps={"gain": {"override_gain": reference}, "needs": {"override_readnoise": "N/A"}})
    result = pipe.run(image)
    assert pipe.needs.found == {"gain": reference, "readnoise": "N/A"}
    assert result.meta.ref_file.readnoise.name == "N/A"


def test_an_own_override_wins_and_skipped_steps_do_not_count(tiny, image, gain, workdir):
    other = workdir / "other.fits"
    other.write_text("")
    steps = {
        "gain": {"override_gain": "gain.fits"},
        "needs": {"override_gain": "other.fits", "override_readnoise": ""},
    }
    pipe = tiny.OuterPipeline(steps=steps)
    pipe.run(image)
    assert (pipe.gain.found["gain"], pipe.needs.found["gain"]) == (str(gain), str(other))
    del steps["needs"]["override_gain"]
    steps["gain"]["skip"] = True
    with pytest.raises(ReferenceNotFoundError, match="gain: CRDS is not set up"):
        tiny.OuterPipeline(steps=steps).run(image)


def test_everything_missing_is_listed_before_the_work(tiny, image):
    pipe = tiny.OuterPipeline(steps={"needs": {"override_readnoise": "gone.fits"}})
    with pytest.raises(ReferenceNotFoundError) as caught:
        pipe.run(image)
    text = str(caught.value)
    assert "gain: CRDS is not set up: no CRDS_SERVER_URL" in text
    assert "gone.fits: No such file or directory" in text
    assert "override_<type>" in text and "CRDS_PATH" in text
    assert (image.data == 1).all()
    steps = {"gain": {"override_gain": "gone_a"}, "needs": {"override_gain": "gone_b", "override_readnoise": ""}}
    with pytest.raises(ReferenceNotFoundError, match="gone_b: No such file"):
        tiny.OuterPipeline(steps=steps).run(image)
    assert isinstance(caught.value, ReferenceFileError) and isinstance(caught.value, FileNotFoundError)


def test_no_crds_is_imported_when_all_is_overridden(exposure, strun, gain):
    done = _python(
        "import sys, tiny_steps\n"
        f"tiny_steps.GainStep.call({exposure!r}, override_gain='gain.fits', configure_log=False)\n"
        "print('crds' in sys.modules, 'asdf' in sys.modules)"
    )
    assert done.splitlines()[-1] == "False False"


def _python(code):
    steps = Path(__file__).parent / "steps_for_tests"
    code = f"import sys; sys.path.insert(0, {str(steps)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_log_of_a_run_is_no_question_to_crds(exposure, crds_cache):
    """The log of an exposure grows while it is calibrated; its lines have no meaning for CRDS."""
    crds_cache({"gain": ("jwst_nircam_gain_0001.fits", "gain")})
    asked = _python(f"""
import sys
from upramp.framework.references import ReferenceFinder, crds_parameters, import_client_lightly
import_client_lightly()
finder, asked = ReferenceFinder(), []
query = finder._query
finder._query = lambda *arguments: asked.append(arguments[1]) or query(*arguments)
parameters = crds_parameters({exposure!r})
for line in range(3):
    finder.find(parameters | {{f"cal_logs.calwebb_detector1.{{line}}": "a line"}}, ["gain"])
print(asked, [name for name in sys.modules if name.startswith("stdatamodels.jwst")])
""").splitlines()[-1]
    assert asked == "[['gain']] []"


def test_references_and_parameters_from_crds(exposure, crds_cache):
    root = crds_cache(
        {
            "gain": ("jwst_nircam_gain_0001.fits", "gain"),
            "readnoise": "N/A",
            "pars-gainstep": ("jwst_nircam_pars-gainstep_0001.asdf", _pars("tiny_steps.GainStep", "g", "n: 3, zz: 1")),
            "pars-tinypipeline": (
                "jwst_nircam_pars-tinypipeline_0001.asdf",
                _pars(
                    "tiny_steps.TinyPipeline",
                    "t",
                    "own: crds",
                    "[{class: x, name: one, parameters: {n: 4}}, {class: x, name: gone, parameters: {n: 4}}]",
                ),
            ),
            "pars-addstep": ("jwst_nircam_pars-addstep_0001.asdf", _pars("tiny_steps.AddStep", "a", "n: 5, val: 2.5")),
        }
    )
    found = json.loads(
        _python(f"""
import json, tiny_steps
step = tiny_steps.GainStep.configure({exposure!r})
result = step.run({exposure!r})
pipe = tiny_steps.OuterPipeline.configure({exposure!r}, pars={{"steps": {{"pp": {{"steps": {{"two": {{"n": 1}}}}}}}}}})
needs = pipe.run({exposure!r})
off = tiny_steps.GainStep.configure({exposure!r}, use_crds=False)
over = tiny_steps.GainStep(override_gain="N/A").run({exposure!r})
called = tiny_steps.GainStep.call({exposure!r})
print(json.dumps({{
    "path": step.found["gain"], "recorded": result.meta.ref_file.gain.name, "name": step.name, "n": step.n,
    "context": result.meta.ref_file.crds.context_used, "version": result.meta.ref_file.crds.sw_version,
    "origin": step.origins["n"], "own": pipe.pp.own, "one": pipe.pp.one.n, "two": pipe.pp.two.n,
    "val": pipe.pp.one.val, "readnoise": needs.meta.ref_file.readnoise.name,
    "status": needs.meta.cal_step.linearity, "off": off.n,
    "overridden": [over.meta.ref_file.gain.name, over.meta.ref_file.crds.context_used],
    "before": [sum(words in line for line in called.cal_logs["tiny_gain"])
               for words in ("PARS-GAINSTEP parameters found", "that do not exist here", "g instance created")],
}}))
""").splitlines()[-1]
    )
    assert found.pop("version").startswith("1")
    assert found == {
        "path": str(root / "references" / "jwst" / "nircam" / "jwst_nircam_gain_0001.fits"),
        "recorded": "crds://jwst_nircam_gain_0001.fits",
        "context": "jwst_0001.pmap",
        "name": "g",
        "n": 3,
        "origin": "CRDS jwst_nircam_pars-gainstep_0001.asdf",
        "own": "crds",
        "one": 4,
        "two": 1,
        "val": 2.5,
        "readnoise": "N/A",
        "status": "SKIPPED",
        "off": 1,
        "overridden": ["N/A", "jwst_0001.pmap"],
        "before": [1, 1, 1],
    }


def test_what_is_no_exposure_is_not_prefetched(tiny, caplog):
    class Sum(tiny.AddStep):
        prefetch_references = True

        def process(self, a, b):
            return a + b

    caplog.set_level("INFO")
    assert Sum().run(1, 2) == 3
    assert "'1' cannot be opened, references are not prefetched" in caplog.text


def test_no_crds_at_all(exposure, strun_here):
    done = strun_here("tiny_steps.NeedsStep", exposure)
    assert done.status == 255
    text = " ".join(done.out.split())
    assert "ERROR RUNNING STEP 'NeedsStep': Missing reference files for NIRCAM, NRCA1: gain: CRDS is not set up" in text
    assert "readnoise: CRDS is not set up" in text and "Traceback" not in done.err
    assert "Parameters of the observatory are not used: CRDS is not set up" in done.err
    done = strun_here("tiny_steps.NeedsStep", exposure, "--override_gain=gone", "--override_readnoise=N/A")
    assert done.status == 1 and "gone: No such file or directory" in " ".join(done.out.split())
    overrides = ["--override_gain=", "--override_readnoise=N/A", "--disable-crds-steppars", "--log-level=warning"]
    done = strun_here("tiny_steps.NeedsStep", exposure, *overrides)
    assert (done.status, done.out) == (0, "") and "CRDS" not in done.err


def test_what_an_offline_cache_lacks(exposure, crds_cache, strun):
    crds_cache({"gain": ("jwst_nircam_gain_0009.fits", None)})
    done = strun("tiny_steps.NeedsStep", exposure)
    assert done.status == 1
    text = " ".join(done.out.split())
    assert "ERROR RUNNING STEP 'NeedsStep':" in text
    assert "Missing reference files for NIRCAM, NRCA1" in text
    assert "gain: jwst_nircam_gain_0009.fits is not in the cache" in text
    assert "readnoise: CRDS has none for this exposure" in text
    assert "Traceback" not in done.err
    assert not list(Path().glob("*needs*"))


def test_a_step_that_does_not_ask_needs_no_references(tiny, exposure):
    class Unconcerned(tiny.NeedsStep):
        asks = False

        def process(self, data):
            if not self.asks:
                return self.record_skip(self.prepare_output(data), "there is nothing to do")
            return super().process(data)

    step = Unconcerned()
    assert step.run(exposure).meta.cal_step.linearity == "SKIPPED"
    step.asks = True
    with pytest.raises(ReferenceNotFoundError, match=r"gain: .*\n  readnoise: "):
        step.run(exposure)


def test_parameters_from_a_source_of_ones_own(tiny, image, monkeypatch):
    class Mine(tiny.AddStep):
        @classmethod
        def get_config_from_reference(cls, dataset, disable=None, crds_observatory=None):
            return {"n": 4}

    assert (Mine.configure(image).n, Mine.configure(image, pars={"n": 2}).n) == (4, 2)
    assert Mine.configure(image).origins["n"] == "get_config_from_reference of Mine"
    assert Mine.configure(image, use_crds=False).n == tiny.AddStep().n
    monkeypatch.setattr(Mine, "get_config_from_reference", staticmethod(lambda dataset: {"n": 3}))
    assert Mine.configure(image).n == 3


def test_parameters_of_the_observatory_have_a_section_for_every_step(tiny, image):
    found = tiny.TinyPipeline.get_config_from_reference(image, disable=True)
    assert found == {"steps": {"one": {}, "two": {}}}
    found["steps"]["two"]["n"] = 4
    assert tiny.TinyPipeline.from_config_section(found).two.n == 4
    assert tiny.AddStep.get_config_from_reference(image) == {}


def test_references_can_be_looked_for_before_the_run(tiny, exposure):
    with pytest.raises(ReferenceNotFoundError, match=r"gain: .*\n  readnoise: "):
        tiny.OuterPipeline()._precache_references(exposure)
