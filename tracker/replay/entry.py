"""From how a run was started to the command that starts it again inside a workspace."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tracker.code.checkout import check_path
from tracker.code.environment import ALLOWED
from tracker.config import PREFIX
from tracker.errors import InputError
from tracker.replay.execution import Command
from tracker.secrets import MASK
from tracker.store.documents import Entry, StartDocument

# Recorded, but true of that machine, job or installation only.
_OF_THE_PLACE = (
    *("AIRFLOW_CTX_*", "PREFECT__*", "SLURM_*", "SLURMD_*", "SUBMITIT_*", "PBS_*", "LSB_*"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "NVIDIA_VISIBLE_DEVICES", "ROCR_*", "HIP_*", "HSA_*", "NCCL_*"),
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_*"),
    *("MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_*", "PMI_*", "HF_HOME", "TORCH_HOME", "PYTHONPATH", "PYTHONHOME"),
    *("PYTHONEXECUTABLE", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX", "VIRTUAL_ENV", "CONDA_*"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "CI", "GITHUB_*", "CI_*", "BUILD_ID"),
)
_OUR_ARGUMENTS = ("HINDSIGHT_ARG_*", "HINDSIGHT_KWARGS")
_CUT = "… ("  # how the end of a value that was too long to be recorded begins


def command_of(
    start: StartDocument,
    *,
    project: Path,
    elsewhere: Path,
    own: Mapping[str, str],
    current: Mapping[str, str] | None = None,
    python: str | None = None,
) -> Command:
    """How to start the recorded entry in ``project``, the copy of its project's folder.

    ``own`` are variables that come last; ``elsewhere`` is the working directory of a run that was started outside of
    its project. Arguments and paths that lie in the original project lead into the copy. ``InputError`` says why an
    entry cannot be started again.
    """
    environment = environment_of(start, os.environ if current is None else current)
    search_path = _search_path(start.root, project, environment.get("PYTHONPATH", ""))
    if search_path:
        environment["PYTHONPATH"] = search_path
    arguments = [moved(text, start.root, project) for text in start.entry.argv]
    return Command(
        arguments=(python or sys.executable, *_target(start.entry, project), *arguments),
        folder=_working_directory(start.entry, project, elsewhere),
        environment=environment | dict(own),
    )


def _target(entry: Entry, project: Path) -> Sequence[str]:
    if entry.kind == "module" and entry.script and not entry.script.startswith("-"):
        return "-m", entry.script
    if entry.kind == "function" and entry.script and entry.function:
        return "-m", "tracker.replay.calling", str(_file_of(entry, project)), entry.function
    if entry.kind != "script" or not entry.script:
        raise InputError(f"a run that was started as {entry.kind} cannot be started again by itself")
    return (str(_file_of(entry, project)),)


def _file_of(entry: Entry, project: Path) -> Path:
    """The file of a script or a function in the copy of the project."""
    assert entry.script is not None
    if os.path.isabs(entry.script):
        raise InputError(f"its script {entry.script} lies outside of its project, so that its code is not recorded")
    check_path(entry.script, "of the run")
    script = project / entry.script
    if not script.exists():
        raise InputError(f"the snapshot of its code has no {entry.script}")
    return script


def _working_directory(entry: Entry, project: Path, elsewhere: Path) -> Path:
    if entry.working_directory == ".":
        return project
    if os.path.isabs(entry.working_directory):
        elsewhere.mkdir(exist_ok=True)
        return elsewhere
    check_path(entry.working_directory, "of the run")
    folder = project / entry.working_directory
    folder.mkdir(parents=True, exist_ok=True)  # an empty folder is in no snapshot
    return folder


def environment_of(start: StartDocument, current: Mapping[str, str]) -> dict[str, str]:
    """The current environment, with what was recorded of the run's where that does not only tell the place.

    Variables of those names that the run did not have are left out, and so is everything that would tell the process
    of another run.
    """
    found = {name: text for name, text in current.items() if not name.startswith(PREFIX)}
    if not start.environment:  # it was not captured
        return found
    for name in [name for name in found if _is_of_the_run(name) and name not in start.environment]:
        del found[name]
    for name, text in start.environment.items():
        ours = name.startswith(PREFIX) and not _matches(name, _OUR_ARGUMENTS)
        if not ours and not _matches(name, _OF_THE_PLACE) and MASK not in text and _CUT not in text:
            found[name] = text
    return found


def _is_of_the_run(name: str) -> bool:
    return _matches(name, ALLOWED) and not _matches(name, _OF_THE_PLACE)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def moved(text: str, root: str | None, project: Path) -> str:
    """An argument with the original project's folder replaced by that of the copy: ``--out=/home/me/p/out``."""
    if root is None or root == os.sep or root not in text:
        return text
    before, _, after = text.partition(root)
    begins = not before or before.endswith(("=", ":", ","))
    ends = not after or after.startswith(os.sep)
    return f"{before}{project}{after}" if begins and ends else text


def _search_path(root: str | None, project: Path, given: str) -> str:
    """``PYTHONPATH`` with the original project's folders replaced by those of the copy.

    A project that is installed as editable stands on ``sys.path``; its copy must be found first.
    """
    entries = [entry for entry in given.split(os.pathsep) if entry]
    kept = [moved(entry, root, project) for entry in entries]
    installed = [moved(entry, root, project) for entry in sys.path if os.path.isabs(entry)]
    copies = [entry for entry in installed if Path(entry).is_relative_to(project) and entry not in kept]
    return os.pathsep.join([*kept, *dict.fromkeys(copies)])
