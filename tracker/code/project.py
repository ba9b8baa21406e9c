"""Which folder is the project, and what was started in it."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tracker.secrets import mask_argv
from tracker.store.documents import Entry

_ROOT_MARKS = (".git", "pyproject.toml", ".hindsight")
_PACKAGES = {"site-packages", "dist-packages"}  # the prefix itself would not do: images have projects in /usr/src


def project_root(start: Path | None = None) -> Path:
    """The nearest folder, from ``start`` (default: the working directory) upwards, that has ``.git``,
    ``pyproject.toml`` or ``.hindsight``; else ``start`` itself.
    """
    folder = (start or working_directory()).resolve()
    for candidate in (folder, *folder.parents):
        if _is_marked(candidate):
            return candidate
    return folder


def script_root() -> Path:
    """The project of what is running: the working directory's, unless the script lies in a project elsewhere."""
    here = project_root()
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None:
        return here
    script = _resolve(file)
    installed = any(script.is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix))
    if installed or script.is_relative_to(here):
        return here
    own = project_root(script.parent)
    return own if _is_marked(own) else here


def working_directory() -> Path:
    """The working directory; the home folder where it has been removed under our feet."""
    try:
        return Path.cwd()
    except OSError:
        return Path.home()


def capture_entry(argv: Sequence[str], *, root: Path) -> Entry:
    """What would have to be executed to do this again; secrets on the command line are masked."""
    main: Any = sys.modules.get("__main__")
    arguments = mask_argv(argv[1:])
    where = _relative(working_directory(), root)
    if _in_notebook():
        return Entry(kind="notebook", script=_notebook(main, root), working_directory=where)
    module = getattr(getattr(main, "__spec__", None), "name", None)
    if module and module != "__main__":  # `python folder` has a spec of that name, and a file
        name = module.removesuffix(".__main__")
        return Entry(kind="module", script=name, argv=arguments, working_directory=where)
    file = getattr(main, "__file__", None)
    if file is None or (file.startswith("<") and not os.path.exists(file)):  # typed, or piped in: "<stdin>"
        return Entry(kind="interactive", argv=arguments, working_directory=where)
    return Entry(kind="script", script=_relative(_resolve(file), root), argv=arguments, working_directory=where)


def is_started_again_by_script(root: Path) -> bool:
    """Whether the command line of this process starts a script of the project, and not an engine or a notebook."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None or _in_notebook() or not os.path.exists(file):
        return False
    script = _resolve(file)
    installed = any(script.is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix))
    return script.is_relative_to(root) and not installed


def function_root(function: Callable[..., Any]) -> Path | None:
    """The project of the file that a function stands in, whatever is wrapped around it; ``None`` for one that was
    typed, and for one of an installed package, which is nobody's project.
    """
    file = _file_of(function)
    if file is None or not os.path.isfile(file):
        return None
    path = _resolve(file)
    if _PACKAGES.intersection(path.parts) or path.is_relative_to(_resolve(os.__file__).parent):
        return None
    return project_root(path.parent)


def function_entry(function: Callable[..., Any], *, root: Path) -> Entry:
    """The entry of a run that calls this function, with arguments that are recorded beside it."""
    return Entry(
        kind="function",
        script=_relative(_resolve(_file_of(function) or ""), root),
        function=f"{function.__module__}:{function.__qualname__}",
        working_directory=_relative(working_directory(), root),
    )


def _file_of(function: Callable[..., Any]) -> str | None:
    """Where the code of a function stands: the innermost one, as decorators stand in files of their own."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else str(code.co_filename)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; having imported its package, or IPython at a terminal, does not count."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


def _notebook(main: Any, root: Path) -> str | None:
    """The notebook's path where the front end tells it."""
    path = os.environ.get("JPY_SESSION_NAME") or getattr(main, "__vsc_ipynb_file__", None)
    return _relative(_resolve(str(path)), root) if path else None


def _resolve(path: str) -> Path:
    try:
        return Path(path).resolve()
    except OSError:
        return Path(path)  # relative to a working directory that is gone


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)


def _is_marked(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in _ROOT_MARKS)
