"""The distribution: what is in the wheel, whether it runs from there, which way imports point, what the docs say."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import upramp
from upramp.cli import main

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"
ROOMS = ("kernels", "wcs", "models", "framework", "steps", "pipelines")
DOCUMENTS = (
    "README.md",
    "docs/simulate.md",
    "docs/kernels.md",
    "docs/large_events.md",
    "docs/models.md",
    "docs/optional_steps.md",
    "docs/pipelines.md",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the checkout without leftovers of earlier builds."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(SOURCES, copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    subprocess.run([sys.executable, "-m", "build", "--wheel", str(copy)], check=True, capture_output=True)
    (path,) = (copy / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A new environment with the wheel in it, which finds the dependencies here; runs a command in an empty folder."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = ["-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(command, *arguments):
        program = [str(folder / "bin" / command), *arguments]
        return subprocess.run(
            program, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert Path(run("python", "-c", "import upramp; print(upramp.__file__)").strip()).is_relative_to(packages)
    return run


def test_wheel_has_every_source(wheel):
    expected = {
        f"upramp/{path.relative_to(SOURCES).as_posix()}"
        for pattern in ("*.py", "*.yaml")
        for path in SOURCES.rglob(pattern)
    }
    with zipfile.ZipFile(wheel) as archive:
        found = set(archive.namelist())
    assert expected - found == set()
    assert "upramp/models/schemas/core.yaml" in found
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in found)


def test_commands_run_from_the_wheel(installed):
    assert installed("upramp", "--version") == f"upramp {upramp.__version__}\n"
    assert f"upramp: {upramp.__version__}" in installed("strun", "--version").splitlines()
    assert "save_calibrated_ramp" in installed("strun", "calwebb_detector1", "--help")


def test_every_module_of_the_wheel_imports(installed):
    code = """
import importlib, pkgutil, upramp
names = [module.name for module in pkgutil.walk_packages(upramp.__path__, "upramp.")]
for name in names:
    importlib.import_module(name)
print(*names)
"""
    names = installed("python", "-c", code).split()
    assert {f"upramp.{room}" for room in (*ROOMS, "simulate", "demo")} <= set(names)


def test_schemas_are_found_in_the_wheel(installed):
    code = "from upramp.models import RampModel; print(RampModel((1, 2, 3, 4)).groupdq.shape)"
    assert installed("python", "-c", code) == "(1, 2, 3, 4)\n"


def _add_required(requirements, found):
    """Add the distributions that are required, and those that they require, by normalised name."""
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            _add_required(metadata.requires(name) or (), found)


def test_declared_dependencies_are_enough(tmp_path):
    """An exposure is calibrated, with references from CRDS, while packages that only the tests need are hidden."""
    required = {"upramp"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    _add_required(project["dependencies"], required)
    hidden = [
        module
        for module, names in metadata.packages_distributions().items()
        if required.isdisjoint(map(canonicalize_name, names))
    ]
    assert {"jwst", "stcal", "stpipe", "pytest"} <= set(hidden)
    assert main(["simulate", str(tmp_path), "--subarray", "SUB64P", "--nints", "1", "--ngroups", "4"]) == 0
    (raw,) = tmp_path.glob("*_uncal.fits")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
from upramp.framework.strun import main
sys.exit(main(["calwebb_detector1", {str(raw)!r}]))
"""
    environment = os.environ | {"CRDS_PATH": str(tmp_path / "crds")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert raw.with_name(raw.name.replace("uncal", "rate")).is_file()


def _imports(path):
    """Names that a file imports, anywhere in it; relative ones do not occur."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(name):
    return name.split(".")[1] if name.startswith("upramp.") else None


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    outside = {path.stem for path in SOURCES.iterdir() if not path.name.startswith("_")} - {*ROOMS, "errors"}
    forbidden = {*ROOMS[ROOMS.index(room) + 1 :], *(outside - {"registry"})}
    for path in (SOURCES / room).rglob("*.py"):
        wrong = sorted({name for name in _imports(path) if _room(name) in forbidden})
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_kernels_import_nothing_but_arrays():
    # llvmlite is the part of numba that writes instructions.
    allowed = {"numpy", "numba", "llvmlite", *sys.stdlib_module_names}
    for path in (SOURCES / "kernels").rglob("*.py"):
        for name in _imports(path):
            assert name.split(".")[0] in allowed or name.startswith("upramp.kernels"), f"{path.name} imports {name}"


def test_numba_is_configured_in_one_place():
    for path in SOURCES.rglob("*.py"):
        if path.name != "_jit.py":
            assert not re.search(
                r"\b(fastmath|nogil|error_model)\s*=|@(numba\.)?(n?jit|guvectorize)\b", path.read_text()
            ), path


def _blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_examples_of_the_documents_run(document, tmp_path, monkeypatch):
    blocks = _blocks(document, "python")
    assert blocks
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, document, "exec"), names)


def test_first_blocks_of_the_readme():
    first, second = _blocks("README.md", "bash")[:2]
    assert first.strip() == "python -m pip install '.[plot]' && upramp demo"
    assert second.count("\n") == 1
    assert "'.[test]'" in second


def test_documents_link_to_files_that_exist():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_no_file_names_a_place_of_one_machine():
    place = re.compile(r"(?<![\w.])/(?:work/(?:main|venv|shared|brief)|root/|home/(?!jane|user)\w)")
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "pyproject.toml"]
    for folder in ("src", "docs", "benchmarks"):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".yaml", ".toml")]
    for path in files:
        assert not place.search(path.read_text()), path
