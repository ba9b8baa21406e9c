"""What documents cannot be used without: objects and code, which are in the target before the documents are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable

from tracker.errors import BadKey, Corrupt, KeyNotFound
from tracker.store import keys
from tracker.store.base import Info
from tracker.store.documents import Snapshot
from tracker.store.kinds import Kind, Need
from tracker.store.sync_carrying import Carrier
from tracker.store.sync_catalogue import Item, Rank, sort_key
from tracker.store.sync_copying import bundle_needs

_OBJECT = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{64}")
_CODE = re.compile(r"code/([^/]+)\.json")
_FEW = 4  # objects of one folder that are asked for one by one
_LONGEST_CHAIN = 1000


class Needs:
    """Brings over what is needed, each key once. ``missing`` is what neither store has."""

    def __init__(self, carrier: Carrier, kinds: tuple[Kind, ...]) -> None:
        self.carrier, self.kinds = carrier, kinds
        self.missing: dict[str, str] = {}
        self._present: set[str] = set()  # keys that the target is known to have
        self._knows_code = False
        self._folders: set[str] | None = None  # of objects in the target
        self._listed: set[str] = set()

    def bring(self, needs: Iterable[Need]) -> None:
        """Everything that is needed and that the source has is in the target when this returns."""
        wanted = list(needs)
        self._bring_snapshots({match[1] for need in wanted if (match := _CODE.fullmatch(need.key))})
        self._bring_objects(need for need in wanted if _OBJECT.fullmatch(need.key))

    def know(self, theirs: Iterable[str]) -> None:
        """These are the keys of code that the target has."""
        self._present.update(theirs)
        self._knows_code = True

    def lacks(self, needs: Iterable[Need]) -> str | None:
        """The first of these keys that neither store has, with the reason."""
        return next((f"{need.key}: {self.missing[need.key]}" for need in needs if need.key in self.missing), None)

    def _bring_objects(self, needs: Iterable[Need]) -> None:
        wanted = {need.key: need.size_bytes for need in needs if need.key not in self._present}
        wanted = {key: size for key, size in wanted.items() if key not in self.missing}
        self._look_for(wanted.keys())
        absent = [key for key in wanted if key not in self._present]
        self.carrier.tally.expect(keys=len(absent))
        for key, found in zip(absent, self.carrier.each(self._bring_object, absent), strict=True):
            if found is None:
                self._present.add(key)
            else:
                self.missing[key] = found

    def _bring_object(self, key: str) -> str | None:
        """Why an object cannot be brought over."""
        try:
            info = self.carrier.source.info(key)
        except KeyNotFound:
            return "neither store has it"
        self.carrier.tally.expect(size_bytes=info.size_bytes)
        if self.carrier.carry(Item(info, "object", Rank.OBJECT)):
            return None
        return self.carrier.tally.summary.problems.get(key, "it has gone")

    def _look_for(self, wanted: Collection[str]) -> None:
        """Find out which objects the target has, with as few requests as that takes."""
        if not wanted:
            return
        if self._folders is None:
            self._folders = set(self.carrier.target.folders(keys.OBJECTS))
        groups: dict[str, list[str]] = defaultdict(list)
        for key in wanted:
            folder = key.split("/")[1]
            if folder in self._folders and folder not in self._listed:
                groups[folder].append(key)
        single = [key for group in groups.values() if len(group) < _FEW for key in group]
        whole = [folder for folder, group in groups.items() if len(group) >= _FEW]
        self._present.update(key for key, has in zip(single, self.carrier.each(self._has, single), strict=True) if has)
        for infos in self.carrier.each(self._list_folder, whole):
            self._present.update(info.key for info in infos)
        self._listed.update(whole)

    def _list_folder(self, folder: str) -> list[Info]:
        return list(self.carrier.target.list(f"{keys.OBJECTS}{folder}/"))

    def _has(self, key: str) -> bool:
        try:
            self.carrier.target.info(key)
        except KeyNotFound:
            return False
        return True

    def _bring_snapshots(self, names: Collection[str]) -> None:
        """Snapshots with all that their bundles build on: payloads, then bundles, then the documents."""
        bundles: dict[str, Item] = {}
        documents: dict[str, tuple[Item, bytes]] = {}
        waiting = set(names)
        while waiting:
            fresh = self._fresh(waiting - documents.keys())
            if len(documents) + len(fresh) > _LONGEST_CHAIN * max(1, len(names)):
                raise Corrupt(f"the code snapshots of {self.carrier.source.url} build on one another without end")
            waiting = set()
            for name, found in zip(fresh, self.carrier.each(self._read_snapshot, fresh), strict=True):
                if found is None:
                    self.missing.setdefault(keys.code_document(name), "neither store has it")
                    continue
                item, data, document, bundle, further = found
                documents[name] = item, data
                if bundle is not None:
                    bundles[name] = bundle
                waiting.update(further)
                self._bring_objects(Need(keys.object_key(file.digest), file.path) for file in document.files)
        self._write_snapshots(bundles, documents)

    def _fresh(self, names: Collection[str]) -> list[str]:
        """Snapshots that are not yet known to be in the target, and are not."""
        unknown = [name for name in names if keys.code_document(name) not in self._present | self.missing.keys()]
        asked = [] if self._knows_code else self.carrier.each(lambda name: self._has(keys.code_document(name)), unknown)
        self._present.update(keys.code_document(name) for name, has in zip(unknown, asked, strict=False) if has)
        return [name for name in unknown if keys.code_document(name) not in self._present]

    def _read_snapshot(self, name: str) -> tuple[Item, bytes, Snapshot, Item | None, list[str]] | None:
        """A snapshot's document, its bundle, and the snapshots that it builds on."""
        source, key = self.carrier.source, keys.code_document(name)
        try:
            item = sort_key(source.info(key), self.kinds)
            read = None if item is None else self.carrier.read(item)
            if item is None or read is None:
                return None
            data, told = read
            if told.document.kind != "git":
                return item, data, told.document, None, []
            bundle = Item(source.info(keys.code_bundle(name)), "bundle", Rank.BUNDLE)
            return item, data, told.document, bundle, bundle_needs(source, name)
        except KeyNotFound:
            return None
        except (Corrupt, BadKey) as exc:
            self.carrier.tally.problem(key, str(exc))
            self.missing[key] = str(exc)
            return None

    def _write_snapshots(self, bundles: dict[str, Item], documents: dict[str, tuple[Item, bytes]]) -> None:
        self.carrier.tally.expect(keys=len(bundles) + len(documents))
        arrived = self.carrier.each(self.carrier.carry, bundles.values())
        for name, ok in zip(bundles, arrived, strict=True):
            if not ok:
                self.missing[keys.code_document(name)] = "its bundle cannot be read"
        for name, (item, data) in documents.items():
            if item.key not in self.missing:
                self.carrier.put(item, data)
                self._present.add(keys.code_document(name))
