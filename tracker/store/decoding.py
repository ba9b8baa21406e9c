"""What a failed read of a Parquet file says: that its bytes are damaged, or only that they could not be had."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tracker.errors import DamagedSegment, KeyNotFound, Unavailable
from tracker.store.base import Store
from tracker.store.durable import translated

_OF_THE_BYTES = {None, errno.EINVAL}  # PyArrow's own errors have no number; a place that cannot be is refused with one


@contextmanager
def decoding(store: Store, key: str, says: str, advice: str = "") -> Iterator[None]:
    """``DamagedSegment`` where the bytes of a key cannot be decoded: what it says, why, and what to do.

    That it is gone is ``FileNotFoundError``; that a store does not answer or no more files can be opened says nothing
    about the bytes, and is ``Unavailable``.
    """
    import pyarrow as pa

    try:
        yield
    except (FileNotFoundError, Unavailable):
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError) as exc:
        number = exc.errno if isinstance(exc, OSError) else None
        if number in _OF_THE_BYTES:
            raise DamagedSegment(f"{says}: {exc}{advice}") from exc
        if number == errno.ESTALE:  # how NFS says that another machine has deleted it
            raise KeyNotFound(f"there is no {key} any more in {store.url}") from exc
        path = store.local_path(key)
        if path is None:
            raise
        with translated(path, key):
            raise
