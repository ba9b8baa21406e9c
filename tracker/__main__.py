"""``python -m tracker`` is the ``hindsight`` command."""

from __future__ import annotations

import sys

from tracker.cli.main import main

sys.exit(main())
