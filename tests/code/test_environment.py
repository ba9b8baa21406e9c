"""The environment, packages and host of a run, without secrets and without slowing it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.code.environment import capture_environment, capture_host, capture_packages
from tracker.code.gpu import parse_tool


def test_only_allowed_variables_are_recorded() -> None:
    """What is not on the list stays out; more names can be allowed, with wildcards."""
    environ = {"SLURM_JOB_ID": "7", "HOME": "/root", "MY_FLAG": "1", "OMP_NUM_THREADS": "4", "SLURMX": "1"}

    assert capture_environment(environ) == {"OMP_NUM_THREADS": "4", "SLURM_JOB_ID": "7"}
    assert capture_environment(environ, allow=["MY_*"])["MY_FLAG"] == "1"


def test_secrets_are_masked_also_when_everything_is_allowed() -> None:
    """The list decides what is looked at, never whether a secret is shown."""
    environ = {
        "HINDSIGHT_STORE": "s3://key:secret@bucket/x",
        "HINDSIGHT_STORAGE_OPTIONS": '{"key": "abc", "endpoint_url": "http://h"}',
        "SLURM_JWT": "abc",
        "AIRFLOW_CONN_DB": "postgres://u:p@h/d",
        "PLAIN": "x" * 5000,
        "ODD": "a\udcffb",
        "EMPTY_TOKEN": "",
    }

    masked = capture_environment(environ, allow=["*"])

    assert masked["HINDSIGHT_STORE"] == "s3://***@bucket/x"
    assert {masked[name] for name in ("HINDSIGHT_STORAGE_OPTIONS", "SLURM_JWT", "AIRFLOW_CONN_DB")} == {"***"}
    assert masked["PLAIN"].endswith("… (5,000 characters)")
    assert (masked["ODD"], masked["EMPTY_TOKEN"]) == ("a\N{REPLACEMENT CHARACTER}b", "")


def test_packages_are_those_that_the_import_system_sees() -> None:
    """Names and versions agree with the metadata of every installed distribution."""
    packages = capture_packages()

    expected = {}
    for found in importlib.metadata.distributions():
        expected.setdefault(re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower(), found.version)
    assert {name: version.split(" @ ")[0] for name, version in packages.distributions.items()} == expected
    assert packages.python == ".".join(str(part) for part in sys.version_info[:3])


def test_odd_installations(tmp_path: Path) -> None:
    """Eggs, packages developed in place and packages from a repository are seen; the first on the path wins."""
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (
        first / "Foo_Bar-1.0.dist-info",
        second / "foo.bar-2.0.dist-info",
        second / "old-3.1-py3.11.egg-info",
        second / "local.egg-info",
        second / "vcs-1.dist-info",
        second / "not a package",
    ):
        folder.mkdir(parents=True)
    (second / "local.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: local\nVersion: 0.5\n")
    (second / "vcs-1.dist-info" / "direct_url.json").write_text(
        '{"url": "https://u:p@h/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'
    )

    found = capture_packages([str(first), str(second), str(tmp_path / "absent"), str(tmp_path / "x.zip")])

    assert found.distributions == {
        "foo-bar": "1.0",
        "local": "0.5",
        "old": "3.1",
        "vcs": "1 @ https://***@h/x.git@abc",
    }


def test_host_says_what_the_process_may_use() -> None:
    """Processors are those that the scheduler gave, not those of the machine."""
    script = "from tracker.code.host import capture_host; print(capture_host().cpus)"
    taskset = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{0}})\n{script}"]

    host = capture_host()

    assert host.cpus == len(os.sched_getaffinity(0))
    assert 2**27 < host.memory_bytes < 2**50
    assert subprocess.run(taskset, capture_output=True, text=True, check=True).stdout.strip() == "1"


def test_devices_of_the_driver_s_tool() -> None:
    """Rows are taken as they are; what is unknown is left unknown, and other text is no device."""
    gpus = parse_tool("NVIDIA H200, 143771, 570.1\nNVIDIA Thor, [N/A], 1\nNo devices were found\n")

    assert [(gpu.name, gpu.memory_bytes, gpu.driver) for gpu in gpus] == [
        ("NVIDIA H200", 143771 << 20, "570.1"),
        ("NVIDIA Thor", None, "1"),
    ]


def test_devices_of_the_driver_s_library(tmp_path: Path) -> None:
    """The library is asked through its C interface; a device that is hidden from this job is passed over."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler to build a library with the driver's interface")
    source = tmp_path / "nvml.c"
    source.write_text(
        "#include <string.h>\n"
        "int nvmlInit_v2(void) { return 0; }\nint nvmlShutdown(void) { return 0; }\n"
        'int nvmlSystemGetDriverVersion(char *t, unsigned n) { strncpy(t, "570.1", n); return 0; }\n'
        "int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }\n"
        "int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)7; return i == 1 ? 4 : 0; }\n"
        "int nvmlDeviceGetName(void *h, char *t, unsigned n)\n"
        '{ strncpy(t, h == (void *)7 ? "Test" : "?", n); return 0; }\n'
        "int nvmlDeviceGetMemoryInfo(void *h, unsigned long long *m) { m[0] = 1ull << 37; return 0; }\n"
    )
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    script = "from tracker.code.gpu import list_gpus; print(*list_gpus())"

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == f"Gpu(name='Test', memory_bytes={1 << 37}, driver='570.1')"
