"""Samples of the process and its machine, and of accelerators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tracker.record.gpu import GpuReader, is_visible, parse
from tracker.record.processes import ProcessTree
from tracker.record.system import SystemSampler, _memory_group

TABLE = """\
0, GPU-6f0a, 35, 1024, 81559, 70.51, 40
1, GPU-77bb, [N/A], 2048, 81559, [Not Supported], 41
"""


FAMILY = """
import json, subprocess, sys
from tracker.record.processes import ProcessTree
body = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(flush=True); sys.stdin.read(); p.kill()"
child = subprocess.Popen([sys.executable, "-c", body], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
tree = ProcessTree(max_children=int(sys.argv[1]))
both = tree.measure()
child.communicate(b"", timeout=30)
print(json.dumps([both, tree.measure()]))
"""


def measure_family(max_children: int) -> list[dict[str, float]]:
    """What a process of its own sees while it has a child and a grandchild, and after both ended."""
    command = [sys.executable, "-c", FAMILY, str(max_children)]
    found: list[dict[str, float]] = json.loads(subprocess.run(command, stdout=-1, check=True, timeout=60).stdout)
    return found


def test_sample_has_the_readings_of_every_system() -> None:
    """Memory, host, disk and network are there from the first sample on, as plain numbers."""
    sample = SystemSampler(gpu=False).sample()

    assert {type(value) for value in sample.values()} <= {int, float}
    assert 0 < sample["memory.rss_bytes"] < sample["memory.host_used_bytes"] + sample["memory.host_available_bytes"]
    assert 0 <= sample["cpu.host_percent"] <= 100
    assert sample["disk.free_bytes"] > 0
    assert sample["network.received_bytes"] >= 0


def test_busy_process_is_seen() -> None:
    """The processor share of a busy process is above none and below all processors."""
    sampler = SystemSampler(gpu=False)
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass

    assert 0 < sampler.sample()["cpu.process_percent"] <= 110 * (os.cpu_count() or 1)


def test_written_bytes_are_counted(tmp_path: Path) -> None:
    """What the process writes to disk since the sampler was made is counted, where the system tells."""
    tree = ProcessTree(max_children=0)
    before = tree.measure().get("disk.written_bytes")
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())

    assert before is None or tree.measure()["disk.written_bytes"] >= before


def test_children_are_included() -> None:
    """Processes below this one count, grandchildren too, and are forgotten once they ended."""
    both, none = measure_family(8)

    assert (both["process.children"], none["process.children"]) == (2, 0)
    assert both["memory.children_rss_bytes"] > 0
    assert "memory.children_rss_bytes" not in none


def test_number_of_children_is_bounded() -> None:
    """A process with very many children costs no more than the limit."""
    assert measure_family(1)[0]["process.children"] == 1
    assert measure_family(0)[0]["process.children"] == 0


def test_forked_child_samples_itself(tmp_path: Path) -> None:
    """In a forked child the sampler measures the child, not its parent."""
    script = """
        import json, os, sys
        from tracker.record.system import SystemSampler
        sampler = SystemSampler(gpu=False)
        ballast = bytearray(os.urandom(64 << 20))
        parent = sampler.sample()["memory.rss_bytes"]
        pid = os.fork()
        if not pid:
            del ballast
            sample = sampler.sample()
            open(sys.argv[1], "w").write(json.dumps([parent, sample["memory.rss_bytes"], sample["process.children"]]))
            os._exit(0)
        os.waitpid(pid, 0)
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), tmp_path / "answer"], check=True, timeout=60)
    parent, forked, children = json.loads((tmp_path / "answer").read_text())

    assert forked < parent
    assert children == 0


def test_disk_of_a_folder_that_went_away_is_absent(tmp_path: Path) -> None:
    """A reading that fails is left out, and the others stay."""
    folder = tmp_path / "gone"
    folder.mkdir()
    sampler = SystemSampler(path=folder, gpu=False)
    folder.rmdir()
    sample = sampler.sample()

    assert "disk.free_bytes" not in sample
    assert sample["memory.rss_bytes"] > 0


@pytest.mark.parametrize(
    ("entries", "folder", "names"),
    [
        ("0::/job\n", "job", ("memory.current", "memory.max")),
        ("4:memory:/job\n0::/\n", "memory/job", ("memory.usage_in_bytes", "memory.limit_in_bytes")),
        ("1:cpu:/\n", "job", None),
        ("nonsense\n", "job", None),
    ],
)
def test_memory_of_the_control_group(tmp_path: Path, entries: str, folder: str, names: tuple[str, str] | None) -> None:
    """Both versions of control groups are found, and none is fine."""
    (tmp_path / "cgroup").write_text(entries)
    (tmp_path / "mount" / folder).mkdir(parents=True)
    for name in names or ():
        (tmp_path / "mount" / folder / name).write_text("1")
    found = _memory_group(str(tmp_path / "cgroup"), str(tmp_path / "mount"))

    assert found == (names and tuple(tmp_path / "mount" / folder / name for name in names))
    assert _memory_group(str(tmp_path / "missing")) is None


def test_gpu_table_is_read_with_its_gaps() -> None:
    """What a device does not offer is left out; memory comes in bytes."""
    sample = parse(TABLE, None)

    assert sample["gpu.0.utilisation_percent"] == 35
    assert sample["gpu.0.memory_used_bytes"] == 1 << 30
    assert sample["gpu.0.power_watts"] == 70.51
    assert "gpu.1.utilisation_percent" not in sample
    assert "gpu.1.power_watts" not in sample
    assert sample["gpu.1.temperature_celsius"] == 41


@pytest.mark.parametrize("table", ["", "No devices were found\n", "a,b\n", "0, GPU-1, x, x, x, x, x\n"])
def test_gpu_table_without_devices_is_empty(table: str) -> None:
    """Whatever else the tool prints gives no readings and no error."""
    assert parse(table, None) == {}


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, "01"), ("1", "1"), ("0,1", "01"), ("GPU-77", "1"), ("", ""), ("-1", ""), ("7", ""), ("MIG-1", "01")],
)
def test_only_visible_gpus_are_read(visible: str | None, expected: str) -> None:
    """Devices of other jobs on the same host stay out."""
    found = [index for index, uuid in (("0", "GPU-6f0a"), ("1", "GPU-77bb")) if is_visible(index, uuid, visible)]

    assert "".join(found) == expected


def install_tool(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executable ``nvidia-smi`` in the path of this process."""
    tool = folder / "nvidia-smi"
    tool.write_text("#!/bin/sh\n" + body)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_gpu_readings_come_from_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver's library the tool is run, and its table read."""
    install_tool(tmp_path, f"cat <<'END'\n{TABLE}END\n", monkeypatch)
    reader = GpuReader(visible="1")
    reader._source = reader._command()

    assert {name.split(".")[1] for name in reader.read()} == {"1"}


def test_a_failing_gpu_tool_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken driver costs a few attempts, never an error and never one attempt per sample."""
    install_tool(tmp_path, f"echo >> {tmp_path}/calls\nexit 9\n", monkeypatch)
    reader = GpuReader(visible="0")
    reader._source = reader._command()

    assert [reader.read() for _ in range(10)] == [{}] * 10
    assert (tmp_path / "calls").read_text().count("\n") == 3


def test_no_visible_gpu_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is given no device starts neither library nor tool."""
    install_tool(tmp_path, f"echo >> {tmp_path}/calls\n", monkeypatch)

    assert GpuReader(visible="").read() == {}
    assert not (tmp_path / "calls").exists()
