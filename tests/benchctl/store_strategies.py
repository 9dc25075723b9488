"""Any run, as Hypothesis strategies for the tests of the store."""

from __future__ import annotations

from hypothesis import strategies as st

from benchctl.store.record import (
    ArmResult,
    ArmRound,
    ArmSpec,
    CaseResult,
    CaseSpec,
    Memory,
    OutputCheck,
    Phases,
    Plan,
    Run,
    Verification,
)

words = st.text(max_size=12)
names = st.text(min_size=1, max_size=12)
counts = st.integers(0, 2**60)
floats = st.floats(allow_nan=False)
nanoseconds = st.integers(-1000, 10**15)
facts = st.recursive(
    st.none() | st.booleans() | counts | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(words, inner, max_size=3)
    ),
    max_leaves=6,
)
fact_maps = st.dictionaries(names, facts, max_size=3)
seconds = st.none() | nanoseconds.map(lambda ns: ns / 1e9)
output_checks = st.builds(
    OutputCheck,
    names,
    st.booleans(),
    floats,
    floats,
    floats,
    st.lists(counts, max_size=4).map(tuple),
    words,
    st.booleans(),
)
verifications = st.builds(
    Verification, st.booleans(), st.lists(output_checks, max_size=3).map(tuple), names
)
phases = st.builds(Phases, st.sampled_from(["cold", "warm"]), seconds, seconds, seconds, seconds)
memories = st.builds(Memory, st.none() | counts, st.none() | counts)
parameters = st.dictionaries(
    names, words | counts | st.floats(allow_nan=False, allow_infinity=False), max_size=3
)


@st.composite
def arm_rounds(draw, number):
    loops = draw(st.integers(1, 10**6))
    samples = draw(st.lists(nanoseconds, max_size=4))
    return ArmRound(
        number,
        tuple(ns / (loops * 1e9) for ns in samples),
        loops,
        draw(st.booleans()),
        draw(st.integers(0, 9)),
        draw(st.integers(0, 9)),
    )


@st.composite
def arm_results(draw, arm):
    numbers = sorted(draw(st.sets(st.integers(0, 40), max_size=4)))
    return ArmResult(
        arm,
        draw(st.sampled_from(["ok", "planned", "unavailable", "wrong", "crashed", "timeout"])),
        draw(words),
        draw(words),
        draw(st.none() | verifications),
        tuple(draw(st.lists(phases, max_size=2))),
        draw(memories),
        tuple(draw(st.lists(words, max_size=3))),
        tuple(draw(st.lists(words, max_size=3))),
        draw(st.dictionaries(names, counts, max_size=2)),
        draw(st.dictionaries(names, words, max_size=2)),
        tuple(draw(arm_rounds(number)) for number in numbers),
    )


@st.composite
def runs(draw):
    """Any run: any text in any field, any samples that are whole nanoseconds."""
    switches = st.dictionaries(names, words, max_size=2)
    arms = tuple(
        ArmSpec(
            arm_id,
            draw(names),
            draw(st.sampled_from(["cpu", "gpu", "gpu:1"])),
            draw(switches),
            precision=draw(st.sampled_from(["fp32", "tf32", "fp16", "bf16"])),
        )
        for arm_id in sorted(draw(st.sets(names, min_size=1, max_size=3)))
    )
    cases = tuple(
        CaseSpec(
            case_id,
            draw(names),
            draw(parameters),
            draw(words),
            draw(st.sampled_from(["forward", "gradient", "training"])),
            *(draw(counts) for _ in range(3)),
        )
        for case_id in sorted(draw(st.sets(names, max_size=2)))
    )
    return Run(
        run_id="",
        started_utc=draw(st.datetimes()).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0"),
        plan=Plan(
            cases,
            arms,
            draw(counts),
            draw(counts),
            draw(st.integers(1, 64)),
            draw(st.sampled_from(arms)).id,
            draw(words),
            draw(st.none() | st.floats(0, 1e6)),
            draw(fact_maps),
        ),
        machine=draw(fact_maps),
        environment=draw(fact_maps),
        versions=draw(st.dictionaries(names, words, max_size=3)),
        git=draw(fact_maps),
        command=tuple(draw(st.lists(words, max_size=3))),
        cases=tuple(
            CaseResult(case, tuple(draw(arm_results(arm)) for arm in arms)) for case in cases
        ),
        complete=True,
    )
