"""Arrow arrays from NumPy arrays and lists of bytes, without ``pyarrow.array``: that imports pandas, which costs more
than the whole sealing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def numeric_array(data: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """An array of the data's type (bool, integers, floats); null where ``missing``."""
    import numpy as np
    import pyarrow as pa

    if data.dtype == np.bool_:
        arrow_type, buffer = pa.bool_(), np.packbits(data, bitorder="little")
    else:
        arrow_type, buffer = pa.from_numpy_dtype(data.dtype), np.ascontiguousarray(data)
    return pa.Array.from_buffers(arrow_type, len(data), [_validity(missing), pa.py_buffer(buffer)])


def time_array(nanoseconds: NDArray[np.int64]) -> pa.Array:
    """Unix nanoseconds as ``timestamp[us, UTC]``."""
    import pyarrow as pa

    return numeric_array(nanoseconds // 1000).view(pa.timestamp("us", tz="UTC"))


def bytes_array(cells: Sequence[bytes | None], arrow_type: pa.DataType) -> pa.Array:
    """An array of ``string`` (cells are UTF-8) or ``binary``; null where a cell is ``None``."""
    import numpy as np
    import pyarrow as pa

    lengths = np.fromiter((len(cell) if cell is not None else 0 for cell in cells), np.int64, len(cells))
    offsets = np.zeros(len(cells) + 1, np.int32)
    offsets[1:] = np.cumsum(lengths)
    missing = np.fromiter((cell is None for cell in cells), np.bool_, len(cells))
    data = b"".join(cell for cell in cells if cell is not None)
    buffers = [_validity(missing if missing.any() else None), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(arrow_type, len(cells), buffers)


def _validity(missing: NDArray[np.bool_] | None) -> pa.Buffer | None:
    import numpy as np
    import pyarrow as pa

    return None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
