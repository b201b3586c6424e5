"""The table of 1/f noise in docs/optional_steps.md is what its script finds, and says what the text says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT = """
import json, sys, tempfile
from pathlib import Path
import optional_flicker
name, amplitude = sys.argv[1], float(sys.argv[2])
optional_flicker.EXPOSURES = {name: optional_flicker.EXPOSURES[name]}
with tempfile.TemporaryDirectory() as folder:
    optional_flicker.make_cache(Path(folder))
    found = optional_flicker.left(Path(folder), name, amplitude)
print(json.dumps([found, optional_flicker.table({(name, amplitude): found})]))
"""


def test_a_row_of_the_table():
    """A process of its own: the client of CRDS looks at one cache only."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "NIRSpec SUB512", "10"],
        env=os.environ | {"PYTHONPATH": str(DOCS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, table = json.loads(done.stdout.splitlines()[-1])
    start, *cells = table.splitlines()[-1].split(" | ")
    page = (DOCS / "optional_steps.md").read_text()
    (row,) = re.findall(rf"^{re.escape(start)} \| (.*)$", page, flags=re.MULTILINE)
    np.testing.assert_allclose(
        [float(cell.strip("| ")) for cell in row.split("|") if cell.strip()],
        [float(cell.strip("| ")) for cell in cells],
        rtol=0.02,
        atol=0.02,
    )
    assert found["fft"] < found["median"] < 0.8 * found["before"]
