"""Parts of a plan for several machines: whole cases, balanced by what they are estimated to cost.

A shard keeps the reference arm, the rounds, the seed and the settings of the whole plan, and the
ids of all its cases, so that the runs of all shards can be merged into one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from benchctl.plan.errors import PlanError
from benchctl.plan.schedule import CostModel, estimate_seconds
from benchctl.store.record import CaseSpec, Plan

SHARD = "shard"
"""Key of `Plan.settings`: `index` from 1, `count`, and the `cases` of the whole plan, by id."""
AUTO = "auto"

_TEXT = re.compile(r"(\d{1,9})/(\d{1,9})")
_EXAMPLE = "for instance --shard 1/3, or --shard auto in a job array"


def shard_plan(plan: Plan, index: int, count: int) -> Plan:
    """The cases of shard `index` of `count`, counted from 1; the shards share no case.

    The same plan and count give the same shards. Raises `PlanError` for a number that does not
    exist and for a shard without cases.
    """
    _check_numbers(index, count, f"{index}/{count}")
    if SHARD in plan.settings:
        raise PlanError("expected a whole plan, received a shard: a shard is not split again")
    own = set(_assign_cases(plan, count)[index - 1])
    if not own:
        cases = len(plan.cases)
        raise PlanError(
            f"shard {index}/{count} has nothing to measure: the plan has {cases} "
            f"case{'' if cases == 1 else 's'}",
            f"use at most {cases} shards",
        )
    shard = {"index": index, "count": count, "cases": [case.id for case in plan.cases]}
    return replace(
        plan,
        cases=tuple(case for case in plan.cases if case.id in own),
        settings={**plan.settings, SHARD: shard},
    )


def case_seconds(plan: Plan, case: CaseSpec, model: CostModel | None = None) -> float:
    """Roughly how long one case of a plan takes, whatever the plan's budget."""
    return estimate_seconds(replace(plan, cases=(case,), budget_seconds=None), model)


def _assign_cases(plan: Plan, count: int) -> list[list[str]]:
    """The ids of every shard's cases: the longest case left goes to the shard with least to do.

    No shard then exceeds the mean by more than one case. Source: Graham 1969, Bounds on
    multiprocessing timing anomalies.
    """
    seconds = {case.id: case_seconds(plan, case) for case in plan.cases}
    shards: list[list[str]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for case_id in sorted(seconds, key=lambda case_id: -seconds[case_id]):
        least = min(range(count), key=loads.__getitem__)
        shards[least].append(case_id)
        loads[least] += seconds[case_id]
    return shards


def parse_shard(text: str, environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """The index, from 1, and the count that "2/3" means; "auto" asks the job's environment.

    A job array of Slurm, or `CI_NODE_INDEX` and `CI_NODE_TOTAL` as GitLab sets them (GitHub sets
    neither: a matrix can). Raises `PlanError`.
    """
    if text.strip() == AUTO:
        return _shard_of_job(os.environ if environment is None else environment)
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise PlanError(f'--shard expected INDEX/COUNT or auto, received "{text}"', _EXAMPLE)
    index, count = int(match[1]), int(match[2])
    _check_numbers(index, count, text.strip())
    return index, count


def _check_numbers(index: int, count: int, received: str) -> None:
    if count < 1 or not 1 <= index <= count:
        raise PlanError(
            f'--shard expected an index from 1 to the count, received "{received}"', _EXAMPLE
        )


def _shard_of_job(environment: Mapping[str, str]) -> tuple[int, int]:
    if "SLURM_ARRAY_TASK_ID" in environment:
        return _shard_of_array(environment)
    if "CI_NODE_INDEX" in environment:
        index = _whole(environment, "CI_NODE_INDEX")
        count = _whole(environment, "CI_NODE_TOTAL")
        if not 1 <= index <= count:
            raise PlanError(
                "--shard auto expected CI_NODE_INDEX from 1 to CI_NODE_TOTAL, received "
                f"{index} and {count}",
                "where a service counts from 0, give --shard with 1 added",
            )
        return index, count
    if environment.get("CI_NODE_TOTAL") == "1":
        # GitLab sets no index for a job that is not split.
        return 1, 1
    raise PlanError(
        "--shard auto expected SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, or CI_NODE_INDEX "
        "and CI_NODE_TOTAL in the environment, received none of them",
        _EXAMPLE,
    )


def _shard_of_array(environment: Mapping[str, str]) -> tuple[int, int]:
    """The place of a task in its array, which may begin at any number and have a step."""
    task = _whole(environment, "SLURM_ARRAY_TASK_ID")
    count = _whole(environment, "SLURM_ARRAY_TASK_COUNT")
    first = _whole(environment, "SLURM_ARRAY_TASK_MIN", 1)
    step = max(1, _whole(environment, "SLURM_ARRAY_TASK_STEP", 1))
    place, rest = divmod(task - first, step)
    if rest or not 0 <= place < count:
        raise PlanError(
            f"--shard auto expected an array of {count} tasks from {first} in steps of {step}, "
            f"received task {task}",
            f"use sbatch --array=1-{count}, or give --shard INDEX/COUNT",
        )
    return place + 1, count


def _whole(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "")
    if not text and default is not None:
        return default
    if not text.isdecimal():
        raise PlanError(
            f'--shard auto expected a whole number in {name}, received "{text}"', _EXAMPLE
        )
    return int(text)
