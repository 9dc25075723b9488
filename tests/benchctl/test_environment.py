"""Facts of machine and software: stable where they identify, silent about who and where."""

import getpass
import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchctl.measure import environment

CPUINFO_VIRTUAL = """\
processor\t: 0
model name\t: Example CPU 9000 @ 3.00GHz
cpu MHz\t\t: 2991.417
flags\t\t: fpu vme sse2 hypervisor avx2

processor\t: 1
model name\t: Another name
flags\t\t: fpu
"""
CPUINFO_ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\nFeatures\t: fp asimd\n"


def test_machine_id_is_the_same_in_every_process():
    script = "from benchctl.measure.environment import machine_facts; print(machine_facts()['id'])"
    found = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert found == {environment.machine_facts()["id"] + "\n"}


def test_machine_id_is_12_hex_digits_and_survives_a_clock_and_memory_that_vary(monkeypatch):
    import psutil

    def told(size_bytes):
        memory = psutil.virtual_memory()._replace(total=size_bytes)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
        return environment.machine_facts()

    base = told(16 * 2**30)
    assert len(base["id"]) == 12
    assert int(base["id"], 16) >= 0
    less = told(16 * 2**30 - 300 * 2**20)
    assert (less["id"], less["memory_bytes"]) == (base["id"], 16 * 2**30)
    assert told(32 * 2**30)["id"] != base["id"]


def test_any_stable_fact_changes_the_fingerprint():
    facts = {"cpu": "A", "cores": 2, "memory_bytes": 2**30, "architecture": "x", "os": "Linux"}
    prints = {environment.fingerprint(facts)}
    for name in facts:
        prints.add(environment.fingerprint({**facts, name: "other"}))
    assert len(prints) == 1 + len(facts)
    assert environment.fingerprint(dict(reversed(facts.items()))) in prints


def test_records_name_neither_host_nor_user_nor_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/home/somebody/cache")
    host = socket.gethostname()
    facts = {
        "machine": environment.machine_facts(),
        "environment": environment.volatile_facts(2),
        "versions": environment.software_versions(),
    }
    values = json.dumps(facts)
    assert "somebody" not in values
    assert facts["environment"]["environment"]["NUMBA_CACHE_DIR"] == "~/cache"
    for name in (host, getpass.getuser()):
        assert f'"{name}"' not in values


def test_facts_can_be_stored_as_json():
    facts = [environment.machine_facts(), environment.volatile_facts(3)]
    assert json.loads(json.dumps(facts))[1]["threads"] == 3


def test_only_variables_that_change_speed_are_kept():
    given = {
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "2",
        "XLA_FLAGS": "--x",
        "CUDA_VISIBLE_DEVICES": "0",
        "MKL_CBWR": "AVX2",
        "NUMBA_NUM_THREADS": "1",
        "PATH": "/usr/bin",
        "SECRET_TOKEN": "abc",
        "MY_OMP_": "no",
    }
    kept = environment.speed_variables(given)
    assert list(kept) == sorted(set(given) - {"PATH", "SECRET_TOKEN", "MY_OMP_"})
    assert all(given[name] == value for name, value in kept.items())


@pytest.mark.parametrize(
    ("text", "model", "virtualised"),
    [
        (CPUINFO_VIRTUAL, "Example CPU 9000 @ 3.00GHz", True),
        (CPUINFO_VIRTUAL.replace("hypervisor", "xhypervisor"), "Example CPU 9000 @ 3.00GHz", False),
        (CPUINFO_ARM, "Arm implementer 0x41 part 0xd40", None),
        ("", platform.machine(), None),
    ],
)
def test_processor_is_read_from_cpuinfo(text, model, virtualised):
    assert environment.parse_cpuinfo(text) == environment.Processor(model, virtualised)


def test_generations_under_one_name_are_two_machines(monkeypatch):
    def cpuinfo(family, model):
        return f"cpu family : {family}\nmodel : {model}\nmodel name : AMD EPYC\nstepping : 1\n"

    ids = set()
    for family, model in ((25, 17), (26, 2), (26, 17)):
        processor = environment.parse_cpuinfo(cpuinfo(family, model))
        assert processor.model == "AMD EPYC"
        assert processor.version == f"family {family} model {model} stepping 1"
        monkeypatch.setattr(environment, "read_processor", lambda each=processor: each)
        ids.add(environment.machine_facts()["id"])
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2.0),
        ("50000 100000", 0.5),
        ("max 100000", None),
        ("", None),
        ("5 0", None),
        ("a b", None),
    ],
)
def test_cpu_quota(text, cores):
    assert environment.parse_cpu_max(text) == cores


def test_blas_words_name_the_library_and_its_kernels():
    openmp = {"name": "openmp", "api": "openmp", "version": "", "architecture": ""}
    blas = {"name": "openblas", "api": "blas", "version": "0.3.31.188.0", "architecture": "Zen"}
    assert environment.blas_words([openmp, blas]) == "OpenBLAS 0.3.31 Zen"
    assert environment.blas_words([openmp]) == ""
    unknown = {**blas, "name": "accelerate", "version": "", "architecture": ""}
    assert environment.blas_words([unknown]) == "accelerate"


def test_thread_pools_agree_with_numpy_itself():
    import numpy

    built = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    if "openblas" not in built["name"]:
        pytest.skip("NumPy was built with another BLAS")
    pools = [each for each in environment.thread_pools() if each["api"] == "blas"]
    assert pools[0]["version"].split(".")[:2] == built["version"].split(".")[:2]
    assert pools[0]["architecture"]


def test_pools_of_workers_are_those_under_their_variables():
    variables = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    facts = environment.volatile_facts(1, variables)
    assert facts["environment"]["OPENBLAS_NUM_THREADS"] == "1"
    assert [each["threads"] for each in facts["thread_pools"] if each["api"] == "blas"] == [1]


def test_pools_are_empty_where_no_process_can_be_asked(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert environment.thread_pools_under({}) == ()


def test_versions_are_those_of_the_imported_modules():
    import numba
    import numpy

    versions = environment.software_versions()
    assert versions["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert versions["numpy"] == numpy.__version__
    assert versions["numba"] == numba.__version__
    assert environment.distribution_version("no-such-distribution-here") == ""


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "kept.txt").write_text("one")
    git("add", "kept.txt")
    git("commit", "--quiet", "-m", "first", "--date", "2026-01-02T03:04:05+00:00")
    return tmp_path, git


def test_git_facts_of_a_clean_and_a_changed_tree(repository):
    path, git = repository
    clean = environment.git_facts(path)
    assert clean["revision"] == git("rev-parse", "HEAD")
    assert clean["committed"] == git("log", "-1", "--format=%cI")
    assert clean["dirty"] is False
    (path / "new.txt").write_text("untracked files change no measurement")
    assert environment.git_facts(path)["dirty"] is False
    (path / "kept.txt").write_text("two")
    assert environment.git_facts(path)["dirty"] is True


def test_git_facts_leave_the_repository_untouched(repository):
    path, _ = repository
    (path / "kept.txt").touch()
    before = (path / ".git" / "index").stat().st_mtime_ns
    environment.git_facts(path)
    assert (path / ".git" / "index").stat().st_mtime_ns == before


def test_no_git_facts_without_git_or_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git_facts(tmp_path) == {}
    assert environment.git_facts(tmp_path / "missing") == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_facts(Path.cwd()) == {}


def test_git_that_never_answers_is_left_alone(tmp_path, monkeypatch):
    slow = tmp_path / "git"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "_GIT_TIMEOUT_SECONDS", 0.2)
    assert environment.git_facts(tmp_path) == {}


def test_importing_the_module_imports_nothing_heavy():
    script = (
        "import sys, benchctl.measure.environment, benchctl.doctor.checks\n"
        "import benchctl.store.journal, benchctl.store.reader\n"
        "heavy = {'numpy', 'numba', 'pandas', 'matplotlib', 'rich', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stdout == "[]\n", answer.stderr
