"""The threads of OpenBLAS are asked to sleep before NumPy is loaded, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchctl.compare.findings import OWN_SETTINGS
from benchctl_engines.blas_threads import CYCLES_LOG2, SETTING


def setting_after(code, **environment):
    own = {name: value for name, value in os.environ.items() if name != SETTING}
    script = f"{code}\nimport os\nprint(os.environ.get({SETTING!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**own, **environment},
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["benchctl_engines.static", "benchctl_engines.eager"])
def test_an_engine_asks_for_it_before_numpy_is_loaded(module):
    assert setting_after(f"import {module}") == CYCLES_LOG2
    assert setting_after(f"import {module}", **{SETTING: "26"}) == "26"


def test_a_run_does_not_warn_of_what_the_engines_set_themselves():
    assert OWN_SETTINGS == {SETTING: CYCLES_LOG2}


def test_a_loaded_numpy_is_left_alone():
    assert setting_after("import numpy\nimport benchctl_engines") == "None"


def test_a_worker_loads_no_numpy_before_its_engine():
    code = "import benchctl.measure.worker, sys\nassert 'numpy' not in sys.modules\n"
    assert setting_after(code + "import benchctl_engines.static.engine") == CYCLES_LOG2
