"""Ranks of a distributed job: processes, maybe on several hosts, that write shards of one attempt of one run."""

from __future__ import annotations

import time
from typing import Any

from tracker.code.project import function_entry, function_root, script_root
from tracker.config import load_settings
from tracker.record.identity import Membership, claim_attempt, claim_document, claim_id
from tracker.record.lifecycle import adopt, identify, resolve_store
from tracker.record.origin import Origin
from tracker.record.recorder import Recorder
from tracker.record.run import Run
from tracker.record.spool import spool_for


def begin_rank(origin: Origin, overrides: dict[str, Any]) -> Run:
    """Open a shard of the attempt that the first rank of the same job opens, before or after this.

    They agree on its id by the launch and attempt keys of ``origin``, through the store alone, and nobody waits for
    anybody. Documents of the attempt and its end are left to the first rank. To be ended with ``end_run``.
    """
    assert origin.function is not None, "ranks come from a job that calls a function"
    root = function_root(origin.function) or script_root()
    settings = load_settings(root, overrides={name: value for name, value in overrides.items() if value is not None})
    store = resolve_store(settings, root, create=True)
    project = settings.project or root.name or "project"
    identity = identify(origin, None, project=project, entry=function_entry(origin.function, root=root), store=store)
    run = claim_id(store, identity, spool_for(store, settings))
    attempt = claim_attempt(store, identity)
    claim_document(store, identity, run, time.time())
    member = Membership(run=run, attempt=attempt, store=store.url, project=project)
    return adopt(Run(store, settings, identity, Recorder(), root=root, member=member))
