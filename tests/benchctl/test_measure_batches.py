"""Steps over several batches: drawn, checked batch by batch, and measured as one step."""

import numpy as np
import pytest

from benchctl.measure.batches import (
    BatchesError,
    BatchesRunner,
    batch_name,
    draw_batches,
    output_of,
)
from benchctl.measure.clock import VirtualClock
from benchctl.measure.worker import WorkerService
from benchctl_engines.contract import (
    AsynchronousRunner,
    DeviceMemoryRunner,
    GraphRunner,
    LaunchTime,
    ProfiledRunner,
    StepProfile,
)
from benchctl_workloads import Workload

WORKLOAD = """
import numpy as np
from benchctl_workloads import Outputs, Workload


class Sentences(Workload):
    name = "sentences"
    varying_shapes = True

    def inputs(self, case, rng):
        return self.batches(case, rng)[0]

    def batches(self, case, rng):
        return [{"x": rng.standard_normal((n, 3)).astype("float32")} for n in (4, 2, 7)]

    def program(self, ops, parameters, inputs, case):
        return Outputs({"y": ops.tanh(inputs["x"])})

    def by_hand(self, case):
        def wrong_for_short_ones(parameters, inputs):
            return {"y": np.tanh(inputs["x"]) + (len(inputs["x"]) == 2)}

        return wrong_for_short_ones
"""


class Plain(Workload):
    name = "plain"

    def inputs(self, case, rng):
        return {"x": rng.standard_normal(3)}


class Several(Plain):
    kind = "forward"

    def step(self, case):
        return self.kind

    def batches(self, case, rng):
        return [self.inputs(case, rng) for _ in range(case["count"])]


def test_a_workload_has_one_batch_unless_it_says_more():
    (only,) = draw_batches(Plain(), {}, np.random.default_rng(1))
    np.testing.assert_array_equal(only["x"], Plain().inputs({}, np.random.default_rng(1))["x"])
    assert len(draw_batches(Several(), {"count": 3}, np.random.default_rng(1))) == 3


def test_batches_that_no_step_can_take():
    training = Several()
    training.kind = "training"
    assert len(draw_batches(training, {"count": 1}, np.random.default_rng(1))) == 1
    with pytest.raises(BatchesError, match="one set of inputs in a training step, received 2"):
        draw_batches(training, {"count": 2}, np.random.default_rng(1))
    with pytest.raises(BatchesError, match="at least one, received 0"):
        draw_batches(Several(), {"count": 0}, np.random.default_rng(1))


def test_names():
    assert batch_name("y", 1) == "y of batch 2"
    assert output_of("y of batch 2") == output_of("y") == "y"


@pytest.fixture
def reference(tmp_path):
    file = tmp_path / "sentences.py"
    file.write_text(WORKLOAD)
    folder = tmp_path / "reference"
    folder.mkdir()
    seeds = {"workload": str(file), "case": {}, "parameter_seed": 1, "input_seed": 2}
    answer = WorkerService(VirtualClock()).do_reference(**seeds, folder=str(folder))
    assert answer["outputs"] == ["y of batch 1", "y of batch 2", "y of batch 3"]
    return seeds, str(folder)


class Questioned:
    """A runner of one batch at a time, whose launches are as many as its input has rows."""

    def __init__(self):
        self.rows = 0

    def load(self, inputs):
        self.rows = len(inputs["x"])

    def step(self):
        pass

    def device_memory(self):
        return f"of {self.rows}"

    def graphs(self):
        return f"a graph for {self.rows} rows"

    def profile(self, steps):
        launch = LaunchTime("k:v", "3", 0.25, 0.5, 10, 20)
        return StepProfile(1.0, (launch,) * self.rows, {"forward": 0.5 * self.rows})


def test_what_the_runner_answers_is_answered_for_all_batches():
    batches = [{"x": np.zeros((rows, 3))} for rows in (2, 1)]
    runner = BatchesRunner(Questioned(), batches)
    assert isinstance(runner, GraphRunner) and isinstance(runner, DeviceMemoryRunner)
    assert isinstance(runner, ProfiledRunner) and not isinstance(runner, AsynchronousRunner)
    runner.step()
    assert (runner.device_memory(), runner.graphs()) == ("of 1", "a graph for 1 rows")
    found = runner.profile(2)
    assert [each.start_seconds for each in found.launches] == [0.5, 0.5, 1.5]
    assert found.phases == {"forward": 1.5} and 0 < found.step_seconds < 1.0


def test_what_the_runner_does_not_answer_is_not_answered():
    runner = BatchesRunner(object(), [{}, {}])
    assert not isinstance(runner, GraphRunner | ProfiledRunner | DeviceMemoryRunner)


@pytest.mark.parametrize("engine", ["static", "eager"])
def test_a_profile_of_batches_has_the_launches_of_each(reference, engine):
    seeds, _ = reference
    service = WorkerService(VirtualClock())
    service.do_import(engine, "cpu")
    service.do_prepare(**seeds, options={})
    found = service.do_profile(2)
    assert sorted(each["shapes"] for each in found["launches"]) == ["2x3", "4x3", "7x3"]
    if engine == "static":
        assert service.do_graphs()
    service.close()


@pytest.mark.parametrize("engine", ["static", "eager", "numpy"])
def test_every_batch_is_checked(reference, engine):
    seeds, folder = reference
    service = WorkerService(VirtualClock())
    service.do_import(engine, "cpu")
    service.do_prepare(**seeds, options={})
    checked = service.do_check(folder)
    if engine == "numpy":
        assert not checked["verification"]["ok"]
        (problem,) = checked["problems"]
        assert problem.startswith("y of batch 2 differs")
    else:
        assert checked["verification"]["ok"] and len(checked["verification"]["checks"]) == 3
    service.do_load(9)
    if engine == "static":
        assert service.do_facts()["counts"]["programs_compiled"] == 3
    service.close()
