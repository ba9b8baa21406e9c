"""New log statements of a branch are found once, from wherever the repository lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.code.conftest import Repo, fingerprint_of
from tests.replay.recorded import TRAIN, Project
from tracker.errors import InputError
from tracker.replay.branches import branch_files
from tracker.replay.kinds import ALL_KINDS
from tracker.replay.watching import MOST_TRIES, find_new_probes, read_looks, settle_probes
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.store.verify import verify

OLD = "import tracker\ntracker.log('loss', 1)\n"
NEW = OLD + "tracker.log_many({'norm': 2, 'depth': 3})\nfor i in range(3):\n    tracker.log(f'layer_{i}', i)\n"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "project", commit=False)
    repo.write("train.py", OLD)
    repo.commit("first")
    return repo


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def test_what_no_run_has_logged_is_new_at_the_first_look(tmp_path: Path) -> None:
    """Names that past runs logged themselves are known, also under a pattern."""
    project = Project.make(tmp_path, TRAIN.format(seed=1))
    project.record()
    project.repo.write("train.py", project.probed("grad =", "tracker.log('grad_norm', abs(grad))"))
    project.repo.commit("a probe")

    found = find_new_probes(project.repo.folder, "main", project.store)

    assert found.names == found.labels == ("grad_norm",)
    assert "grad_norm" in found.sources["train.py"]
    assert found.commit == project.repo.git("rev-parse", "main")


def test_what_was_settled_is_not_new_and_what_comes_later_is(repo: Repo, store: Store) -> None:
    """Until it is settled a name is found again and again; computed names are asked by their line."""
    assert find_new_probes(repo.folder, "main", store).names == ("loss",)
    settle_probes(store, find_new_probes(repo.folder, "main", store))
    assert find_new_probes(repo.folder, "main", store).names == ()
    repo.write("train.py", NEW)
    assert find_new_probes(repo.folder, "main", store).names == (), "it is not on the branch yet"
    repo.commit("probes")

    found = find_new_probes(repo.folder, "main", store)
    assert found.names == ("norm", "depth", "train.py@5")
    assert found.labels == ("norm", "depth", "layer_{}")
    assert find_new_probes(repo.folder, "main", store) == found
    settle_probes(store, found)
    assert find_new_probes(repo.folder, "main", store).names == ()


def test_what_stays_unanswered_is_asked_a_few_times(repo: Repo, store: Store) -> None:
    """A run that fails whenever it is replayed does not keep a schedule busy for ever."""
    for _ in range(MOST_TRIES):
        found = find_new_probes(repo.folder, "main", store)
        assert found.names == ("loss",)
        settle_probes(store, found, answered=False)

    assert find_new_probes(repo.folder, "main", store).names == ()


def test_a_look_is_told_once(repo: Repo, store: Store) -> None:
    """A task that tells it again, because it was retried or cleared, uses no try up."""
    found = find_new_probes(repo.folder, "main", store)

    for _ in range(MOST_TRIES):
        settle_probes(store, found, answered=False)

    assert find_new_probes(repo.folder, "main", store).names == ("loss",)


def test_an_address_and_its_clones_are_one_branch(repo: Repo, store: Store, tmp_path: Path) -> None:
    """A bare repository, its address, and a clone whose remote it is; nothing in them changes."""
    bare = tmp_path / "bare.git"
    repo.git("clone", "-q", "--bare", str(repo.folder), str(bare))
    repo.git("clone", "-q", f"file://{bare}", str(tmp_path / "clone"))
    before = fingerprint_of(tmp_path / "clone"), fingerprint_of(bare)

    settle_probes(store, find_new_probes(f"file://{bare}", "main", store))

    assert find_new_probes(tmp_path / "clone", "main", store).names == ()
    assert find_new_probes(tmp_path / "clone", "origin/main", store).names == ("loss",), "another branch"
    assert find_new_probes(bare, "main", store).sources == {"train.py": OLD}
    assert (fingerprint_of(tmp_path / "clone"), fingerprint_of(bare)) == before


def test_credentials_of_an_address_stay_out_of_the_store(repo: Repo, store: Store) -> None:
    """The remote's address is kept, without who may read it."""
    repo.git("remote", "add", "origin", "https://me:hunter2@example.org/me/project.git")

    find_new_probes(repo.folder, "main", store)

    (look,) = read_looks(store, "https://***@example.org/me/project.git", "main")
    assert "hunter2" not in repr(look)
    assert verify(store, kinds=ALL_KINDS).problems == ()


@pytest.mark.parametrize(
    ("repository", "branch", "problem"),
    [
        ("{tmp}/project", "other", "has no branch 'other'"),
        ("{tmp}/project", "--upload-pack=x", "expected a folder or address"),
        ("{tmp}/nowhere", "main", "there is no folder"),
        ("{tmp}/store", "main", "is no git repository"),
    ],
)
def test_a_slip_is_told(repo: Repo, store: Store, tmp_path: Path, repository: str, branch: str, problem: str) -> None:
    """With the folder or the branch that was given."""
    with pytest.raises(InputError, match=problem):
        branch_files(repository.format(tmp=tmp_path), branch)
