"""Binding the shared libraries of packages before they are imported, without holding up the user's threads.

An import binds the libraries of a module under the interpreter's lock: pyarrow's have some 100,000 places to fill in,
and for 20 ms or more no thread of the program goes on, so a single ``log`` may take that long. A foreign call lets the
others run meanwhile, and the import then finds the libraries bound.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

# The extension modules of a package that bring its large libraries with them.
_EXTENSIONS = {
    "numpy": ("_core/_multiarray_umath.*.so", "core/_multiarray_umath.*.so"),  # the second before version 2
    "pyarrow": ("lib.*.so", "_compute.*.so", "_parquet.*.so", "_*fs.*.so"),
}


def bind_libraries(packages: Iterable[str]) -> None:
    """Bind the libraries of those packages that are to be imported; what cannot be bound is left to the import."""
    waiting = [name for name in packages if name in _EXTENSIONS and name not in sys.modules]
    if waiting:
        import ctypes

        with suppress(OSError, TypeError, AttributeError):  # a system that loads libraries in another way
            dlopen = ctypes.CDLL(None).dlopen
            dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
            for path in (path for name in waiting for path in _extensions(name)):
                dlopen(os.fsencode(path), sys.getdlopenflags())


def _extensions(package: str) -> Iterable[Path]:
    """The files of a package's extension modules; none where it is not installed."""
    spec = find_spec(package)
    for folder in () if spec is None else spec.submodule_search_locations or ():
        for pattern in _EXTENSIONS[package]:
            yield from sorted(Path(folder).glob(pattern))
