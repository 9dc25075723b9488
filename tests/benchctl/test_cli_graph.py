"""`benchctl graph` as a user types it, and what TensorBoard itself makes of the logs."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from drawn_graphs import drawn
from tfevents import events, inside, message, text

from benchctl.cli import main
from benchctl.measure.session import ArmGraphs

SMALL_TRAINING = ("-a", "width=2", "-a", "batch=8", "--images", "26", "--threads", "1")


def benchctl(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_a_picture_is_saved_in_the_store_and_summed_up(tmp_path: Path) -> None:
    done = benchctl("graph", "xyz", "--store", tmp_path, "--times", "--steps", "2")
    assert done.exit_code == 0, done.output
    (picture,) = (tmp_path / "graphs").iterdir()
    assert picture.suffix == ".svg" and str(picture) in done.stdout
    assert "of the time" in picture.read_text()
    assert "before" in done.stdout and "1 launch taking" in done.stdout


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graphs of xyz without a worker."""
    found = ArmGraphs(drawn("xyz").graphs)
    monkeypatch.setattr("benchctl.measure.session.graphs", lambda *_: found)


def test_a_file_says_its_format_by_its_name(in_this_process: None, tmp_path: Path) -> None:
    target = tmp_path / "xyz.gv"
    done = benchctl("graph", "xyz", "--out", target, "--after")
    assert done.exit_code == 0, done.output
    content = target.read_text()
    assert content.startswith("digraph") and "cluster_after" in content
    assert "cluster_before" not in content


def test_standard_output_has_the_document_alone(in_this_process: None) -> None:
    done = benchctl("graph", "xyz", "--format", "mermaid", "--out", "-", "--before")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1] == "flowchart TD"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--format", "png"), 2, "'png' is not one of 'svg', 'dot', 'mermaid', 'tensorboard'"),
        (("--out", "graph.png"), 2, "expected a name ending in .svg, .dot, .gv, .mmd"),
        (("--out", "-", "--format", "tensorboard"), 2, "expected a folder, received --out -"),
        (("--out", "missing/graph.svg"), 2, "missing/graph.svg cannot be written: No such file"),
        (("--before", "--times"), 2, "expected the graph that runs"),
        (("-a", "size=3x4,4x3", "--out", "a.svg"), 2, "expected one graph, received 2"),
        (("--engine", "eager"), 6, "eager runs operations as they are called and keeps no graph"),
        (("--engine", "numpy"), 6, "numpy calls a step that was written by hand"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason(
    arguments, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = benchctl("graph", "xyz", *arguments)
    assert done.exit_code == code and words in done.stderr, done.output
    assert "Traceback" not in done.output
    if code == 6:
        assert "--engine static" in done.stderr
    assert list(tmp_path.rglob("*.svg")) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    done = benchctl("graph", "xyz", "--format", "tensorboard", "--out", blocked)
    assert done.exit_code == 2 and "cannot be written: Not a directory" in done.stderr, done.output


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graphs of a step and the scalars of two trainings of one folder."""
    folder = tmp_path_factory.mktemp("logs")
    done = benchctl("graph", "xyz", "--format", "tensorboard", "--out", folder / "xyz", "--times")
    assert done.exit_code == 0, done.output
    for epochs in (1, 2):
        more = ["--resume"] if epochs == 2 else []
        train = ["train", "gan", "--out", folder / "out", "--epochs", epochs, *more]
        done = benchctl(*train, *SMALL_TRAINING, "--tensorboard", folder / "gan")
        assert done.exit_code == 0, done.output
    return folder


def losses(folder: Path) -> list[tuple[float, float]]:
    with (folder / "out" / "losses.csv").open(newline="", encoding="utf-8") as file:
        return [(float(row[2]), float(row[3])) for row in list(csv.reader(file))[1:]]


def test_a_training_logs_the_losses_of_every_step(logs: Path) -> None:
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((logs / "gan").iterdir()):
        for event in events(path)[2:]:
            for value in map(message, inside(event, 5)[1]):
                found.setdefault(text(value[1][0]), []).append((event[2][0], value[2][0]))
    expected = losses(logs)
    assert len(expected) == 6
    for place, name in enumerate(("loss/generator", "loss/discriminator")):
        assert [step for step, _ in found[name]] == [1, 2, 3, 4, 5, 6]
        values = [value for _, value in found[name]]
        assert values == pytest.approx([row[place] for row in expected], rel=1e-6)
    assert [step for step, _ in found["decisions/taken_for_real"]] == [3, 6]


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """TensorBoard's own server on a free port of this machine, ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--logdir", folder, "--port", port, "--host", "127.0.0.1", "--load_fast", "false"]
    command = [sys.executable, "-m", "tensorboard.main", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/data"
    finally:
        process.terminate()
        process.wait(30)


def fetched(address: str, wait_seconds: float = 60.0) -> bytes:
    """What the server answers, asked again until it is there."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@pytest.mark.slow
def test_tensorboard_shows_the_graphs_and_the_scalars(logs: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard reads the logs: pip install tensorboard")
    with tensorboard(logs) as data:
        deadline = time.monotonic() + 60
        runs: list[str] = []
        while len(runs) < 3 and time.monotonic() < deadline:
            runs = json.loads(fetched(f"{data}/runs"))
            time.sleep(0.3)
        assert sorted(runs) == ["gan", "xyz/after", "xyz/before"]
        before = fetched(f"{data}/plugin/graphs/graph?run=xyz%2Fbefore").decode()
        assert before.count("node {") == 3 + len(operations_of(before))
        assert 'name: "forward/multiply"' in before and '"_output_shapes"' in before
        after = fetched(f"{data}/plugin/graphs/graph?run=xyz%2Fafter").decode()
        assert 'op: "fused_loop"' in after
        times = fetched(f"{data}/plugin/graphs/run_metadata?run=xyz%2Fafter&tag=step").decode()
        assert "all_end_rel_micros" in times and "fused_loop" in times
        tag = "loss%2Fgenerator"
        scalars = json.loads(fetched(f"{data}/plugin/scalars/scalars?run=gan&tag={tag}"))
        assert [step for _, step, _ in scalars] == [1, 2, 3, 4, 5, 6]
        expected = [generator for generator, _ in losses(logs)]
        assert [value for _, _, value in scalars] == pytest.approx(expected, rel=1e-6)


def operations_of(pbtxt: str) -> list[str]:
    """The nodes that are no sources."""
    kinds = [line.split('"')[1] for line in pbtxt.splitlines() if line.strip().startswith("op:")]
    return [kind for kind in kinds if kind != "Placeholder"]
