"""Helpers of the framework's tests: a place to work, an exposure, an offline CRDS cache, the command line."""

import hashlib
import os
import pprint
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

STEPS = Path(__file__).parent / "steps_for_tests"
CRDS_VARIABLES = ("CRDS_PATH", "CRDS_SERVER_URL", "CRDS_CONTEXT", "STPIPE_DISABLE_CRDS_STEPPARS")


@pytest.fixture
def tiny(monkeypatch):
    """The module of tiny steps."""
    monkeypatch.syspath_prepend(str(STEPS))
    import tiny_steps

    return tiny_steps


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    """An empty current folder, and no CRDS."""
    for name in CRDS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "no-crds-here"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def exposure(workdir):
    """A small image of NIRCam, by file name."""
    from upramp.models import ImageModel

    model = ImageModel((4, 4))
    model.meta.instrument.name = "NIRCAM"
    model.meta.instrument.detector = "NRCA1"
    model.meta.telescope = "JWST"
    model.meta.observation.date = "2026-01-01"
    model.meta.observation.time = "00:00:00"
    model.save("x_nrca1_rate.fits")
    return "x_nrca1_rate.fits"


@dataclass
class Finished:
    """What a run of the command line left."""

    status: int
    out: str
    err: str


@pytest.fixture
def strun(workdir):
    """Run the real command in a process of its own."""

    def run(*arguments, stdin="", **environment):
        environment = {**os.environ, "PYTHONPATH": str(STEPS), **environment}
        # Not the script `strun`: the peer installs one of the same name.
        code = "import sys; from upramp.framework.strun import main; sys.exit(main())"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, input=stdin, timeout=120)
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def strun_here(tiny, capsys):
    """Run the command line in this process."""
    from upramp.framework.strun import main

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return Finished(status, captured.out, captured.err)

    return run


def _write_mapping(folder, name, header, selector):
    header = {"name": name, "observatory": "JWST", "derived_from": "a test", **header}
    body = "".join(f"    {key!r} : {value!r},\n" for key, value in header.items())
    before, after = "header = {\n" + body, "}\n\nselector = " + selector + "\n"
    checksum = hashlib.sha1((before + after).encode()).hexdigest()
    (folder / name).write_text(f"{before}    'sha1sum' : '{checksum}',\n{after}")


@pytest.fixture
def crds_cache(tmp_path, monkeypatch):
    """Build an offline CRDS cache for NIRCam: ``{type: (file name, content)}``, ``{type: "N/A"}``.

    A file name without content is a reference that the rules name and the cache lacks. The client keeps what
    it has read for the life of the process, so that a test that asks it must run in a process of its own.
    """

    def build(files):
        root = tmp_path / "crds"
        mappings, references = root / "mappings" / "jwst", root / "references" / "jwst" / "nircam"
        for folder in (mappings, references, root / "config" / "jwst"):
            folder.mkdir(parents=True)
        selection = {}
        for reftype, entry in files.items():
            if entry == "N/A":
                selection[reftype] = "N/A"
                continue
            name, content = entry
            if content is not None:
                (references / name).write_text(content)
            selection[reftype] = f"jwst_nircam_{reftype}_0001.rmap"
            header = {"mapping": "REFERENCE", "instrument": "NIRCAM", "filekind": reftype.upper()}
            header["parkey"] = (("META.INSTRUMENT.DETECTOR",), ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME"))
            header["classes"] = ("Match", "UseAfter")
            rule = "Match({('NRCA1',) : UseAfter({'2020-01-01 00:00:00' : %r,}),})"
            _write_mapping(mappings, selection[reftype], header, rule % name)
        imap = {"mapping": "INSTRUMENT", "instrument": "NIRCAM", "parkey": ("REFTYPE",)}
        _write_mapping(mappings, "jwst_nircam_0001.imap", imap, pprint.pformat(selection))
        pmap = {"mapping": "PIPELINE", "parkey": ("META.INSTRUMENT.NAME",)}
        _write_mapping(mappings, "jwst_0001.pmap", pmap, "{'NIRCAM' : 'jwst_nircam_0001.imap'}")
        configuration = {
            "observatory": "jwst",
            "operational_context": "jwst_0001.pmap",
            "latest_context": "jwst_0001.pmap",
            "edit_context": "jwst_0001.pmap",
            "bad_files": "",
            "bad_files_list": [],
            "mappings": sorted(path.name for path in mappings.iterdir()),
            "force_remote_mode": False,
            "crds_version": {"str": "14.0.3"},
            "last_synced": "2026-01-01 00:00:00",
        }
        (root / "config" / "jwst" / "server_config").write_text(pprint.pformat(configuration))
        monkeypatch.setenv("CRDS_PATH", str(root))
        return root

    return build
