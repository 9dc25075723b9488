"""Cases from axes, arms from texts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.plan import arms
from benchctl.plan.cases import case_id, expand_cases, parse_axes, selects, short_ids
from benchctl.plan.errors import PlanError, UnknownNameError
from benchctl_engines.contract import Switch
from benchctl_workloads.workload import Axis, AxisError, Cost, Workload


class Grid(Workload):
    name = "grid"
    axes = (
        Axis("size", "3x4"),
        Axis("layout", "NCHW", values=("NCHW", "NHWC")),
        Axis("batch", 1),
        Axis("rate", 0.5),
    )

    def step(self, case):
        return "training"

    def cost(self, case):
        rows, _, columns = case["size"].partition("x")
        if case["batch"] > 64:
            raise AxisError(f"axis batch expected 64 or less, received {case['batch']}")
        return Cost(int(rows) * int(columns), 4 * case["batch"], 7)


def test_axes_are_read_in_order_and_merged() -> None:
    assert parse_axes(["size=3x4,10x10", "batch=1", "size=5x5,3x4"]) == {
        "size": ["3x4", "10x10", "5x5"],
        "batch": ["1"],
    }
    assert parse_axes([]) == {}
    assert parse_axes(["size = 3x4 , 5x5"]) == {"size": ["3x4", "5x5"]}


@pytest.mark.parametrize("text", ["size", "=3x4", "size=", "size=3x4,", "", "size=,3x4"])
def test_an_axis_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="name=value") as caught:
        parse_axes([text])
    assert f'"{text}"' in str(caught.value)
    assert caught.value.hint


def test_case_id_is_readable() -> None:
    assert case_id("xyz", {"expression": "product", "size": "3x4"}) == (
        "xyz[expression=product,size=3x4]"
    )


values = st.lists(st.sampled_from("abc"), min_size=3, max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), values), min_size=1, unique_by=str))
def test_a_short_id_finds_its_case_and_no_other(cases) -> None:
    ids = [case_id(name, dict(zip("xyz", inside, strict=True))) for name, inside in cases]
    short = short_ids(ids)
    assert len(set(short.values())) == len(ids)
    for full in ids:
        assert len(short[full]) <= len(full)
        assert [each for each in ids if selects(short[full], each)] == [full]
        assert selects(full, full)


def test_short_ids_keep_what_varies() -> None:
    ids = ["xyz[size=3x4,dtype=f]", "xyz[size=8x8,dtype=f]", "heads[head=fc]", "mine"]
    assert list(short_ids(ids).values()) == ["xyz[size=3x4]", "xyz[size=8x8]", "heads", "mine"]


def test_cross_product_in_axis_order_with_defaults() -> None:
    cases = expand_cases(Grid(), {"batch": ["2", "8"], "size": ["3x4", "5x5"]})
    assert [case.id for case in cases] == [
        "grid[size=3x4,layout=NCHW,batch=2,rate=0.5]",
        "grid[size=3x4,layout=NCHW,batch=8,rate=0.5]",
        "grid[size=5x5,layout=NCHW,batch=2,rate=0.5]",
        "grid[size=5x5,layout=NCHW,batch=8,rate=0.5]",
    ]
    last = cases[-1]
    assert last.parameters == {"size": "5x5", "layout": "NCHW", "batch": 8, "rate": 0.5}
    assert list(last.parameters) == ["size", "layout", "batch", "rate"]
    assert (last.flops, last.bytes_moved, last.parameter_count) == (25, 32, 7)
    assert (last.workload, last.step) == ("grid", "training")


def test_the_same_value_twice_is_one_case() -> None:
    assert len(expand_cases(Grid(), {"layout": ["nchw", "NCHW"], "batch": ["1", "01"]})) == 1


@given(
    st.dictionaries(
        st.sampled_from(["layout", "batch", "rate"]),
        st.integers(1, 2),
        max_size=3,
    )
)
def test_number_of_cases_is_the_product_of_the_values(counts: dict[str, int]) -> None:
    texts = {"layout": ["NCHW", "NHWC"], "batch": ["3", "4"], "rate": ["0.1", "2"]}
    cases = expand_cases(Grid(), {name: texts[name][:count] for name, count in counts.items()})
    assert len(cases) == math.prod(counts.values())
    assert len({case.id for case in cases}) == len(cases)


def test_an_unknown_axis_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError) as caught:
        expand_cases(Grid(), {"batsh": ["1"]})
    assert str(caught.value) == (
        'workload grid has no axis "batsh". Did you mean batch? (size, layout, batch, rate)'
    )


def test_an_unknown_value_gets_a_suggestion_and_the_choices() -> None:
    with pytest.raises(PlanError) as caught:
        expand_cases(Grid(), {"layout": ["NCWH"]})
    assert str(caught.value) == (
        "axis layout expected one of NCHW, NHWC, received 'NCWH'. Did you mean NCHW?"
    )
    with pytest.raises(PlanError, match="axis batch expected a positive whole number"):
        expand_cases(Grid(), {"batch": ["zero"]})


def test_what_the_workload_refuses_is_one_line() -> None:
    with pytest.raises(PlanError, match=r"^axis batch expected 64 or less, received 65$"):
        expand_cases(Grid(), {"batch": ["65"]})
    with pytest.raises(PlanError, match=r"^grid\[size=square,.*\] is not a case: ValueError"):
        expand_cases(Grid(), {"size": ["square"]})


def test_an_error_in_a_users_file_names_the_line(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from benchctl_workloads.workload import Workload\n"
        "class Mine(Workload):\n"
        "    def inputs(self, case, rng): ...\n"
        "    def program(self, ops, parameters, inputs, case): ...\n"
        "    def cost(self, case):\n"
        "        return case['nothing']\n"
    )
    for reference in ("mine.py", "mine.py:Mine"):
        with pytest.raises(PlanError, match=r"mine\[\] is not a case: mine.py:6: KeyError"):
            expand_cases(reference, {})


class FakeEngine:
    def switches(self):
        return {
            "entry": Switch("session", ("session", "callable"), "how a step is called"),
            "prune": Switch("on", ("on", "off"), "leave out what is not fetched"),
            "tile": Switch("64", (), "any number"),
            "replay": Switch("on", ("on", "off"), "launch a recorded step", "gpu"),
        }


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "load_engine", lambda name: FakeEngine())


@pytest.mark.usefixtures("fake_engine")
class TestArms:
    def test_an_engine_alone(self) -> None:
        arm = arms.parse_arm("static")
        assert (arm.id, arm.engine, arm.device, arm.switches) == ("static", "static", "cpu", {})

    def test_switches_and_device(self) -> None:
        arm = arms.parse_arm("static:entry=callable,prune=off,tile=8", "gpu")
        assert arm.id == "static:entry=callable,prune=off,tile=8@gpu"
        assert arm.device == "gpu"
        assert arm.switches == {"entry": "callable", "prune": "off", "tile": "8"}

    @pytest.mark.parametrize("text", ["eager", "eager@gpu", "static:prune=off@gpu"])
    def test_an_id_is_a_text_that_means_its_arm(self, text: str) -> None:
        arm = arms.parse_arm(text)
        assert arm.id == text
        assert arms.parse_arm(arm.id) == arm

    @pytest.mark.parametrize(
        "text", ["eager@gpu:1", "eager@gpu/tf32", "eager@gpu/bf16", "static:replay=off@gpu:3/fp16"]
    )
    def test_a_gpu_by_number_and_its_precision_are_part_of_the_id(self, text: str) -> None:
        arm = arms.parse_arm(text, "cpu", "")
        assert arm.id == text
        assert arms.parse_arm(arm.id) == arm

    def test_the_first_gpu_and_strict_float32_need_not_be_named(self) -> None:
        assert arms.parse_arm("eager@gpu:0/fp32") == arms.parse_arm("eager", "gpu")

    def test_a_precision_holds_for_arms_that_name_none(self) -> None:
        assert arms.parse_arm("eager", "gpu", "tf32").id == "eager@gpu/tf32"
        assert arms.parse_arm("eager@gpu/fp32", "gpu", "tf32").id == "eager@gpu"
        assert arms.parse_arm("eager", "gpu:1/tf32", "fp32").precision == "tf32"
        with pytest.raises(PlanError, match="expected a GPU"):
            arms.parse_arm("eager", "cpu", "tf32")

    def test_a_device_in_the_text_wins(self) -> None:
        assert arms.parse_arm("eager@cpu", "gpu").device == "cpu"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("static:entry=calable", 'session or callable, received "calable". Did you mean call'),
            ("static:entri=callable", 'engine static has no switch "entri". Did you mean entry?'),
            ("static:entry", 'expected as name=value, received "entry"'),
            ("static:", 'expected as name=value, received ""'),
            ("static:entry=", 'expected as name=value, received "entry="'),
            ("static:prune=on,prune=off", "prune of engine static is given twice"),
            ("static@gqu", 'expected cpu, gpu or gpu:N, received "gqu". Did you mean gpu?'),
            ("static@gpu:x", 'expected cpu, gpu or gpu:N, received "gpu:x"'),
            (
                "static@gpu/tf23",
                'or fp16 or bf16, received "tf23". Did you mean tf32?',
            ),
            ("static:replay=off", "switch replay of engine static is for device gpu, received cpu"),
            ("static@cpu/tf32", "precision tf32 expected a GPU, received device cpu"),
        ],
    )
    def test_slips_are_one_line_with_the_choices(self, text: str, message: str) -> None:
        with pytest.raises(PlanError) as caught:
            arms.parse_arm(text)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r'no engine "egaer"\. Did you mean eager'):
        arms.parse_arm("egaer:entry=callable")
