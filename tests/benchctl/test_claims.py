"""The lecture's claims: the list, the plan, and every verdict on planted records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from claims_records import HIDDEN, NAMED, even, planted_run
from click.testing import CliRunner, Result
from record_factory import write_run
from report_records import slides_run

from benchctl.claims import user_programs
from benchctl.claims.catalogue import CLAIMS
from benchctl.claims.evaluation import Judged, judge_run, newest_claims, without_claims
from benchctl.claims.evidence import SETTINGS
from benchctl.claims.lines_of_code import lines_of_code
from benchctl.claims.plan import cases_of, plan_claims
from benchctl.claims.user_programs import MISTAKES, condensed, last_words, marked_lines, names_line
from benchctl.claims.verdicts import Outcome, Verdict
from benchctl.cli import main
from benchctl.report.charts.chart import Chart, MissingChart
from benchctl.report.charts.claims import claim_sections
from benchctl.report.claims import counted_verdicts, verdict_words
from benchctl.report.claims_page import NOT_YET, PAGE, RUN, claims_page, load_claims_run
from benchctl.store.reader import load_store
from benchctl.store.record import ArmResult, Run

ROOT = Path(__file__).parents[2]

DECK = {
    "graph": "a program is a graph of nodes and edges",
    "paradigms": "define and run against define by run",
    "devices": "the same code runs on CPU and GPU",
    "gradients": "gradients come by themselves",
    "memory": "TensorFlow wastes memory",
    "intermediates": "getting at intermediate layers takes work",
    "control-flow": "conditional layers are slow in the static graph",
    "errors": "declarative code is hard to debug",
    "tensorboard": "TensorBoard shows the structure and how parameters change",
    "input-pipeline": "threads and queues",
    "export": "from idea to service, in several languages",
    "winograd": "PyTorch applies Winograd convolution by default",
    "shapes": "the dynamic graph adapts to the data at any time",
    "layers": "Keras: fast prototyping, several backends, friendly",
}
"""The rows of the lecture's list, in its order."""


def invoke(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["claims", *arguments, "--store", str(store)])


def verdict(run: Run, name: str) -> Judged:
    return next(each for each in judge_run(run) if each.claim.name == name)


# The list and the plan -----------------------------------------------------------------------


def test_the_claims_are_those_of_the_lecture() -> None:
    assert len(CLAIMS) == 14
    assert [claim.name for claim in CLAIMS] == list(DECK)
    for claim in CLAIMS:
        assert DECK[claim.name] in claim.says
        assert claim.asks and claim.rule


def test_every_claim_has_something_to_measure_or_to_check() -> None:
    for claim in CLAIMS:
        assert claim.entries or claim.probe, claim.name


def test_shared_cases_are_planned_once_and_all_fit_the_rule_of_rounds() -> None:
    plan = plan_claims(CLAIMS, seed=0, threads=2, budget_seconds=840.0)
    assert plan.suite == "claims"
    ids = [case.id for case in plan.cases]
    assert len(set(ids)) == len(ids)
    asked = [case.id for claim in CLAIMS for case in cases_of(claim, plan)]
    assert set(asked) == set(ids)
    assert len(asked) > len(ids), "some case serves two claims"
    assert plan.settings[SETTINGS]["names"] == list(DECK)


def test_what_cannot_run_here_is_left_out_with_its_reason() -> None:
    unknown = dataclasses.replace(CLAIMS[5].entries[0], workload="nowhere")
    claim = dataclasses.replace(CLAIMS[5], entries=(unknown,))
    plan = plan_claims((claim,), seed=0, threads=2, budget_seconds=None)
    reason, _ = plan.settings[SETTINGS]["skipped"]["intermediates"]
    assert 'no workload "nowhere"' in reason
    run = dataclasses.replace(planted_run("graph"), plan=plan, cases=())
    judged = verdict(run, "intermediates")
    assert judged.verdict is Verdict.NOT_MEASURED
    assert 'no workload "nowhere"' in verdict_words(judged)


# Verdicts of timings -------------------------------------------------------------------------


def slower(arm_id: str, factor: float, *cases: str):
    """Times of a run in which one arm is slower, in all cases or in those of some layer."""

    def seconds(case, arm: str) -> float:
        concerned = not cases or any(word in case.id for word in cases)
        return 1e-3 * (factor if arm == arm_id and concerned else 1.0)

    return seconds


IM2COL = "static:convolution=im2col"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (slower(IM2COL, 2.0), Verdict.HOLDS),
        (even, Verdict.FAILS),
        (slower(IM2COL, 0.5), Verdict.FAILS),
        (slower(IM2COL, 2.0, "conv1_2"), Verdict.DEPENDS),
        (slower(IM2COL, 1.05), Verdict.UNDECIDED),
    ],
)
def test_ratios_decide_by_their_intervals(seconds, expected) -> None:
    judged = verdict(planted_run("winograd", seconds=seconds), "winograd")
    assert judged.verdict is expected
    words = verdict_words(judged)
    assert words.startswith(expected.value)
    if expected is Verdict.DEPENDS:
        assert "holds for conv1_2: im2col / Winograd; not for conv2_2" in words
    if expected is Verdict.UNDECIDED:
        assert "both sides of 1.05" in words


def test_too_few_rounds_decide_nothing() -> None:
    run = planted_run("winograd", seconds=slower(IM2COL, 2.0), rounds=3)
    judged = verdict(run, "winograd")
    assert judged.verdict is Verdict.UNDECIDED
    assert "too few rounds" in verdict_words(judged)


def test_a_planted_slow_engine_turns_a_verdict_around() -> None:
    fast = planted_run("paradigms", seconds=slower("eager", 1.5))
    slow = planted_run("paradigms", seconds=slower("static", 1.5))
    assert verdict(fast, "paradigms").verdict is Verdict.HOLDS
    assert verdict(slow, "paradigms").verdict is Verdict.FAILS


def test_the_ladder_and_the_bits_are_shown_beside_the_verdict() -> None:
    bare = planted_run("paradigms")
    bits = {case.id: 0.0 for case in bare.plan.cases}
    run = planted_run("paradigms", facts={"paradigms": bits})
    shown = [each for each in verdict(run, "paradigms").observations if not each.judged]
    same = [each for each in shown if "same bits" in each.what]
    assert len(same) == 4 and all(each.outcome is Outcome.FOR for each in same)
    assert [each for each in shown if "passes up to" in each.what]
    wrong = planted_run("paradigms", facts={"paradigms": dict.fromkeys(bits, 1e-9)})
    same = [each for each in verdict(wrong, "paradigms").observations if "bits" in each.what]
    assert all(each.outcome is Outcome.AGAINST for each in same)


def test_cases_without_common_rounds_are_compared_by_ranks() -> None:
    def seconds(case, arm: str) -> float:
        return 2e-3 if case.parameters["fetch"] != "none" and arm == "static" else 1e-3

    judged = verdict(planted_run("intermediates", seconds=seconds), "intermediates")
    assert judged.verdict is Verdict.DEPENDS
    assert {each.what.partition(":")[0] for each in judged.with_outcome(Outcome.FOR)} == {"static"}


# Verdicts of counts and checks ---------------------------------------------------------------


def test_peaks_of_memory_are_counted_against_the_leanest() -> None:
    """TensorFlow is planted, since it need not be here."""
    run = planted_run("memory", peak=lambda case, arm: 40_000_000 if arm == "eager" else 50_000_000)
    assert verdict(run, "memory").verdict is Verdict.NOT_MEASURED or _has_tensorflow(run)

    def with_tensorflow(bytes_: int) -> Run:
        cases = []
        for case in run.cases:
            model = next(arm for arm in case.arms if arm.arm.id == "eager")
            spec = dataclasses.replace(model.arm, id="tf-function", engine="tf-function")
            memory = dataclasses.replace(model.memory, resident_above_import=bytes_)
            kept = tuple(arm for arm in case.arms if not arm.arm.id.startswith("tf-"))
            planted = dataclasses.replace(model, arm=spec, memory=memory)
            cases.append(dataclasses.replace(case, arms=(*kept, planted)))
        return dataclasses.replace(run, cases=tuple(cases))

    assert verdict(with_tensorflow(90_000_000), "memory").verdict is Verdict.HOLDS
    judged = verdict(with_tensorflow(40_500_000), "memory")
    assert judged.verdict is Verdict.FAILS
    assert any("eager / static" in each.what for each in judged.observations)


def _has_tensorflow(run: Run) -> bool:
    return any(arm.arm.id.startswith("tf-") for case in run.cases for arm in case.arms)


def test_a_graph_prints_no_value() -> None:
    right = {"static": {"lines": ['Tensor("constant:0", shape=(), dtype=int32)', "1"]}}
    wrong = {"static": {"lines": ["1", "1"]}}
    none = {"static": {"failed": "no such file"}}
    for facts, expected in (
        (right, Verdict.HOLDS),
        (wrong, Verdict.DEPENDS),
        (none, Verdict.NOT_MEASURED),
    ):
        run = planted_run("graph", facts={"graph": facts})
        assert verdict(run, "graph").verdict is expected
    assert "no such file" in verdict_words(verdict(run, "graph"))


def test_gradients_are_checked_against_float64() -> None:
    assert verdict(planted_run("gradients"), "gradients").verdict is Verdict.HOLDS

    def wrong(arm: ArmResult) -> ArmResult:
        if arm.arm.id != "eager" or arm.verification is None:
            return arm
        bad = dataclasses.replace(arm.verification, ok=False)
        return dataclasses.replace(arm, status="wrong", verification=bad, rounds=())

    judged = verdict(planted_run("gradients", change=wrong), "gradients")
    assert judged.verdict is Verdict.DEPENDS
    assert all(each.what.startswith("eager") for each in judged.with_outcome(Outcome.AGAINST))


def test_without_a_gpu_the_same_code_is_not_measured_there() -> None:
    run = planted_run("devices")
    if any(arm.device != "cpu" for arm in run.plan.arms):
        pytest.skip("there is a GPU")
    words = verdict_words(verdict(run, "devices"))
    assert words.startswith("not measured here: ")
    assert "benchctl claims --only devices" in words


def test_an_error_counts_by_whether_the_line_of_the_mistake_is_named() -> None:
    def facts(nan: dict) -> dict:
        return {"errors": {"static": {**dict.fromkeys(MISTAKES, NAMED), "nan": nan}}}

    named = verdict(planted_run("errors", facts=facts(NAMED)), "errors")
    assert named.verdict is Verdict.FAILS
    assert any(each.seen == "errors_static.py:14: ShapeError: no" for each in named.observations)
    hidden = verdict(planted_run("errors", facts=facts(HIDDEN)), "errors")
    assert hidden.verdict is Verdict.DEPENDS
    assert [each.what for each in hidden.with_outcome(Outcome.FOR)] == ["static: a NaN"]


def test_an_export_holds_where_every_step_gives_the_same_numbers() -> None:
    step = {"title": "a step", "ok": True, "error": 1e-7, "nodes": 12}
    two = {"one": step, "two": {**step, "ok": False}}
    failed = {"one": step, "two": {"title": "another", "failed": "no operator"}}
    missing = {"onnxruntime": {"missing": ["not installed", "pip install onnxruntime"]}}
    for facts, expected in (
        ({"one": step}, Verdict.HOLDS),
        (two, Verdict.DEPENDS),
        (failed, Verdict.DEPENDS),
        (missing, Verdict.NOT_MEASURED),
    ):
        run = planted_run("export", facts={"export": facts})
        assert verdict(run, "export").verdict is expected
    assert "not installed" in verdict_words(verdict(run, "export"))


def test_layers_must_save_lines_and_be_right() -> None:
    lines = {"layers": 14, "plain": 30, "by hand": 50}
    run = planted_run("layers", facts={"layers": lines})
    assert verdict(run, "layers").verdict is Verdict.HOLDS
    run = planted_run("layers", facts={"layers": {**lines, "layers": 60}})
    assert verdict(run, "layers").verdict is Verdict.DEPENDS


# A user's programs ---------------------------------------------------------------------------


def test_every_program_marks_the_line_of_each_mistake() -> None:
    programs = sorted(user_programs.FOLDER.glob("errors_*.py"))
    assert len(programs) == 7
    for path in programs:
        source = path.read_text(encoding="utf-8")
        assert set(marked_lines(source)) == set(MISTAKES), path.name
        for mistake in MISTAKES:
            assert f"def {mistake}():" in source, path.name


def test_what_is_kept_of_a_traceback_names_no_folder_and_no_other_file() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/srv/me/site-packages/lib.py", line 3, in run\n    inner()\n'
        '  File "/srv/me/prog.py", line 7, in nan\n    y = sqrt(x)\n    ^^^^^^^\n'
        "pkg.mod.NanError: sqrt made a NaN   (made at prog.py:7   y = sqrt(x))\n"
    )
    kept = condensed(text, "prog.py")
    assert "srv" not in kept and "lib.py" not in kept and "inner" not in kept
    mistake = {"file": "prog.py", "line": 7, "shown": kept}
    assert names_line(mistake)
    assert not names_line({**mistake, "line": 70}) and not names_line({**mistake, "line": 3})
    assert last_words(mistake).startswith("NanError: sqrt made a NaN")


def test_lines_of_code_leave_out_what_is_no_code() -> None:
    source = (
        '"""A docstring\nof two lines."""\n\n# a comment\n\nx = [\n    1,\n]\n\n\n'
        'def f():\n    """Words."""\n    return "text"  # and a comment\n'
    )
    assert lines_of_code(source) == 5


# The command ---------------------------------------------------------------------------------


def everything(*names: str, **changes) -> Run:
    """A run of these claims, or of all, with facts for those that need some."""
    facts = {
        "graph": {"static": {"lines": ['Tensor("constant:0", shape=(), dtype=int32)', "1"]}},
        "errors": {"static": dict.fromkeys(MISTAKES, NAMED)},
        "export": {"one": {"title": "a step", "ok": True, "error": 1e-7, "nodes": 12}},
        "layers": {"layers": 14, "plain": 30, "by hand": 50},
    }
    return planted_run(*names, facts=facts, seconds=slower("eager", 1.4), **changes)


@pytest.fixture(scope="module")
def whole_run() -> Run:
    return everything()


def test_from_gives_the_verdicts_of_a_stored_run_again(tmp_path: Path) -> None:
    run = everything("graph", "intermediates", "export", "layers")
    write_run(tmp_path, run)
    later = dataclasses.replace(slides_run(), started_utc="2026-12-01T00:00:00Z")
    write_run(tmp_path, later)
    told = {each.claim.name: each.verdict.value for each in judge_run(run)}
    result = invoke(tmp_path, "--from", "last", "--json")
    assert result.exit_code == 0, result.output
    found = {each["name"]: each["verdict"] for each in json.loads(result.stdout)["claims"]}
    assert found == told
    text = invoke(tmp_path, "--from", run.run_id)
    assert text.exit_code == 0
    for each in judge_run(run):
        assert f"\n{each.claim.name}: {each.verdict.value}" in text.stdout
    assert counted_verdicts(judge_run(run)) in text.stdout
    markdown = invoke(tmp_path, "--from", "last", "--markdown")
    assert "| intermediates |" in markdown.stdout


def test_exit_codes_tell_failures_gaps_and_open_claims(tmp_path: Path) -> None:
    write_run(tmp_path, everything("graph", "tensorboard"))
    assert invoke(tmp_path, "--from", "last", "--strict").exit_code == 3
    crashed = everything("gradients", change=_crash_once())
    write_run(tmp_path / "crashed", crashed)
    assert invoke(tmp_path / "crashed", "--from", "last").exit_code == 5
    nothing = planted_run("export", facts={})
    write_run(tmp_path / "nothing", nothing)
    assert invoke(tmp_path / "nothing", "--from", "last").exit_code == 6
    assert invoke(tmp_path / "empty", "--from", "last").exit_code == 6
    small = dataclasses.replace(slides_run(), cases=slides_run().cases[:1])
    stored = write_run(tmp_path / "other", small)
    other = invoke(tmp_path / "other", "--from", stored.run_id)
    assert other.exit_code == 2 and "was not measured for claims" in other.output


def _crash_once():
    crashed: list[str] = []

    def change(arm: ArmResult) -> ArmResult:
        if arm.arm.id == "eager" and not crashed:
            crashed.append(arm.arm.id)
            return dataclasses.replace(arm, status="crashed", message="killed", rounds=())
        return arm

    return change


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    unknown = invoke(tmp_path, "--only", "winogard", "--dry-run")
    assert unknown.exit_code == 2 and "Did you mean winograd?" in unknown.output
    assert invoke(tmp_path, "--from", "last", "--only", "winograd").exit_code == 2
    assert invoke(tmp_path, "--json", "--markdown").exit_code == 2


def test_a_dry_run_shows_cases_and_budget_and_measures_nothing(tmp_path: Path) -> None:
    result = invoke(tmp_path, "--only", "winograd", "--only", "graph", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "winograd" in result.stdout and "14:00" in result.stdout
    assert not list(tmp_path.rglob("*.jsonl"))


def test_one_experiment_from_start_to_end(tmp_path: Path) -> None:
    """Real programs in processes of their own, a real run in the store, the same verdict again."""
    out = tmp_path / "page"
    done = invoke(tmp_path, "--only", "graph", "--report", "--out", str(out), "--threads", "1")
    assert done.exit_code == 0, done.output
    assert "graph: holds here" in done.stdout
    assert 'Tensor("constant:0", shape=(), dtype=int32)' in done.stdout
    (run,) = load_store(tmp_path)[0]
    assert run.complete and run.plan.suite == "claims"
    assert invoke(tmp_path, "--from", "last").stdout == done.stdout
    assert (out / "pictures" / "claim-graph.png").is_file()
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "graph: holds here" in page and 'id="section-claims"' in page


# The page and the charts ---------------------------------------------------------------------


def test_every_claim_has_a_section_with_a_chart_or_what_to_do(whole_run: Run) -> None:
    sections = claim_sections(whole_run)
    assert [each.name for each in sections] == ["claims", *(f"claim-{name}" for name in DECK)]
    for section, judged in zip(sections[1:], judge_run(whole_run), strict=True):
        if judged.verdict is Verdict.NOT_MEASURED:
            assert isinstance(section, MissingChart) and section.command and section.reason
        else:
            assert isinstance(section, Chart)
            assert len(section.table.rows) == len(judged.observations)


def test_cases_of_claims_stay_out_of_the_other_charts(whole_run: Run) -> None:
    slides = slides_run()
    older = dataclasses.replace(whole_run, started_utc="2020-01-01T00:00:00Z")
    assert without_claims([slides, whole_run, older]) == [slides]
    assert list(newest_claims([whole_run, older, slides]).values()) == [whole_run]


def test_the_page_of_claims_is_up_to_date() -> None:
    run = load_claims_run(ROOT)
    shown = (ROOT / PAGE).read_text(encoding="utf-8")
    assert shown == claims_page(run), "python -m benchctl.report.readme renews it"
    assert (NOT_YET in shown) == (run is None)


def test_a_page_of_a_run_shows_every_verdict(whole_run: Run) -> None:
    page = claims_page(whole_run)
    for each in judge_run(whole_run):
        assert f"### {each.claim.name}\n" in page
    assert page.count("**") == 2 * len(CLAIMS)
    assert f"]({'../' + RUN.as_posix()})" in page


def test_what_the_budget_did_not_reach_leaves_a_claim_open() -> None:
    def unreached(arm: ArmResult) -> ArmResult:
        return dataclasses.replace(arm, status="planned", verification=None, rounds=())

    lines = {"layers": {"layers": 14, "plain": 30, "by hand": 50}}
    judged = verdict(planted_run("layers", facts=lines, change=unreached), "layers")
    assert judged.verdict is Verdict.UNDECIDED
    assert "not reached within the budget" in verdict_words(judged)
