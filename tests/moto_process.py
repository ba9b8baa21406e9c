"""moto's S3 server as a program: ``python moto_process.py -H HOST -p PORT``.

moto 5 looks whether a key is there and then puts it, without a lock between, so two writers that both say
``If-None-Match: *`` can both succeed. S3 does both in one step, and so does this program.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from moto.s3.responses import S3Response
from moto.server import main

_LOCK = threading.Lock()


def _one_at_a_time(handle: Callable[..., Any]) -> Callable[..., Any]:
    def locked(*args: Any, **kwargs: Any) -> Any:
        with _LOCK:
            return handle(*args, **kwargs)

    return locked


if __name__ == "__main__":
    for name in ("_key_response_put", "_key_response_post"):
        setattr(S3Response, name, _one_at_a_time(getattr(S3Response, name)))
    main(sys.argv[1:])
