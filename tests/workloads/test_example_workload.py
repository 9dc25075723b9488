"""The example of docs/writing-a-workload.md works and is the file that it shows."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from directional import assert_gradient
from numpy_vocabulary import run_program

from benchctl_engines.contract import as_float64
from benchctl_workloads import make_case

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "mlp.py"


@pytest.fixture(scope="module")
def mlp():
    specification = importlib.util.spec_from_file_location("mlp_example", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.Mlp()


def test_the_page_shows_the_file_word_for_word():
    page = (DOCS / "writing-a-workload.md").read_text()
    assert f"```python\n{EXAMPLE.read_text()}```\n" in page


def test_training_by_hand_follows_the_gradient_of_the_program(mlp):
    case = make_case(mlp, {"batch": 5, "width": 64})
    rng = np.random.default_rng(3)
    before, inputs = as_float64(mlp.parameters(case, rng)), as_float64(mlp.inputs(case, rng))
    after = {name: array.copy() for name, array in before.items()}
    loss = mlp.by_hand(case)(after, inputs)["loss"]
    assert loss == pytest.approx(float(run_program(mlp, case, before, inputs).objective))
    for name, point in before.items():
        gradient = (point - after[name]) / mlp.learning_rate(case)

        def objective(value, name=name):
            return float(run_program(mlp, case, {**before, name: value}, inputs).objective)

        assert_gradient(objective, point, gradient, rng=rng)


def test_arrays_are_float32_and_repeated_steps_converge(mlp):
    case = make_case(mlp, {})
    rng = np.random.default_rng(3)
    parameters, inputs = mlp.parameters(case, rng), mlp.inputs(case, rng)
    assert {array.dtype.name for array in parameters.values()} == {"float32"}
    step = mlp.by_hand(case)
    losses = [float(step(parameters, inputs)["loss"]) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_cost_counts_the_parameters(mlp):
    case = make_case(mlp, {})
    parameters = mlp.parameters(case, np.random.default_rng(0))
    assert mlp.cost(case).parameters == sum(array.size for array in parameters.values())
