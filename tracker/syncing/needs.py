"""What documents cannot be used without: objects and code, which are in the target before the documents are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from tracker.errors import BadKey, Corrupt, KeyNotFound
from tracker.store import keys
from tracker.store.base import has
from tracker.store.documents import Snapshot
from tracker.store.kinds import Kind, Need
from tracker.syncing.carrying import Carrier
from tracker.syncing.catalogue import Item, Rank, sort_key
from tracker.syncing.copying import bundle_needs

_OBJECT = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{64}")
_CODE = re.compile(r"code/([^/]+)\.json")
_FEW = 4  # objects of one folder that are asked for one by one
_FOLDERS = 256  # of objects, which are alike, because hashes are
_MOST = 300_000  # keys of the target that are kept in mind, some 40 MB


class Needs:
    """Brings over what is needed, each key once. ``missing`` is what neither store has."""

    def __init__(self, carrier: Carrier, kinds: tuple[Kind, ...]) -> None:
        self.carrier, self.kinds = carrier, kinds
        self.missing: dict[str, str] = {}
        self._present: set[str] = set()  # keys that the target is known to have
        self._knows_code = False
        self._folders: set[str] | None = None  # of objects in the target
        self._listed: set[str] = set()
        self._lists = True  # folders of objects, as long as memory should hold what they have

    def bring(self, needs: Iterable[Need]) -> None:
        """Everything that is needed and that the source has is in the target when this returns."""
        wanted = list(needs)
        if wanted:
            self.carrier.hold()
        if len(self._present) > _MOST and not self.carrier.dry:  # which would tell again what it has told
            self._forget()
        self._bring_snapshots({match[1] for need in wanted if (match := _CODE.fullmatch(need.key))})
        self._bring_objects(need for need in wanted if _OBJECT.fullmatch(need.key))

    def know(self, theirs: Iterable[str]) -> None:
        """These are the keys of code that the target has."""
        self._present.update(theirs)
        self._knows_code = True

    def _forget(self) -> None:
        """What is needed again is asked for again, key by key: folders would have to be listed each time."""
        self._present, self._listed, self._folders = set(), set(), None
        self._knows_code = self._lists = False

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
        whole = [folder for folder, group in groups.items() if len(group) >= _FEW]
        for folders in (whole[:1], whole[1:]):  # the first shows how many keys there are
            if self._lists and folders:
                listed = self.carrier.each(self._list_folder, folders)
                self._present.update(key for found in listed for key in found)
                self._listed.update(folders)
                self._lists = max(map(len, listed)) * _FOLDERS <= _MOST
        single = [key for folder, group in groups.items() if folder not in self._listed for key in group]
        self._present.update(
            key for key, has in zip(single, self.carrier.each(self._in_target, single), strict=True) if has
        )

    def _list_folder(self, folder: str) -> list[str]:
        return [info.key for info in self.carrier.target.list(f"{keys.OBJECTS}{folder}/")]

    def _in_target(self, key: str) -> bool:
        return has(self.carrier.target, key)

    def _bring_snapshots(self, names: Collection[str]) -> None:
        """Snapshots with all that their bundles build on: payloads, then bundles, then the documents."""
        read: dict[str, _Read] = {}
        waiting = set(names)
        while waiting:
            fresh = self._fresh(waiting - read.keys())
            found = self.carrier.each(self._read_snapshot, fresh)
            read.update((name, each) for name, each in zip(fresh, found, strict=True) if each is not None)
            waiting = {name for each in found if each is not None for name in each.builds_on}
        self._bring_objects(Need(key, "a file") for each in read.values() for key in each.objects)
        bundles = {name: each.bundle for name, each in read.items() if each.bundle is not None}
        self.carrier.tally.expect(keys=len(bundles) + len(read))
        arrived = self.carrier.each(self.carrier.carry, bundles.values())
        for name, ok in zip(bundles, arrived, strict=True):
            if not ok:
                self.missing[keys.code_document(name)] = "its bundle cannot be read"
        self._hold_back(read)
        for name, each in read.items():
            if keys.code_document(name) not in self.missing:
                self.carrier.put(each.item, each.data)
                self._present.add(keys.code_document(name))

    def _hold_back(self, read: dict[str, _Read]) -> None:
        """Mark what cannot be used without something that is missing, and what builds on that in turn."""
        found = True
        while found:
            found = False
            for name, each in read.items():
                key = keys.code_document(name)
                lacking = [need for need in each.needed_keys if need in self.missing]
                if lacking and key not in self.missing:
                    self.missing[key] = f"it needs {lacking[0]}: {self.missing[lacking[0]]}"
                    found = True

    def _fresh(self, names: Collection[str]) -> list[str]:
        """Snapshots that are not yet known to be in the target, and are not."""
        unknown = [name for name in names if keys.code_document(name) not in self._present | self.missing.keys()]
        if not self._knows_code:
            found = self.carrier.each(self._in_target, map(keys.code_document, unknown))
            self._present.update(
                keys.code_document(name) for name, is_there in zip(unknown, found, strict=True) if is_there
            )
        return [name for name in unknown if keys.code_document(name) not in self._present]

    def _read_snapshot(self, name: str) -> _Read | None:
        """A snapshot's document and what it needs; ``None`` when the source does not have it in a form to be used."""
        source, key = self.carrier.source, keys.code_document(name)
        try:
            item = sort_key(source.info(key), self.kinds)
            read = None if item is None else self.carrier.read(item)
            if item is None or read is None:
                self.missing[key] = self.carrier.tally.summary.problems.get(key, "neither store has it")
                return None
            document: Snapshot = read[1].document
            if document.kind != "git":
                objects = tuple(keys.object_key(file.digest) for file in document.files)
                return _Read(item, read[0], objects=objects)
            bundle = Item(source.info(keys.code_bundle(name)), "bundle", Rank.BUNDLE)
            return _Read(item, read[0], bundle, tuple(bundle_needs(source, name)))
        except KeyNotFound as exc:
            self.missing[key] = f"neither store has all of it: {exc}"
        except (Corrupt, BadKey) as exc:
            self.carrier.tally.problem(key, str(exc))
            self.missing[key] = str(exc)
        return None


@dataclass(frozen=True)
class _Read:
    """The document of a snapshot, and what is to be in the target before it."""

    item: Item
    data: bytes
    bundle: Item | None = None
    builds_on: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()

    @property
    def needed_keys(self) -> Iterator[str]:
        yield from self.objects
        yield from map(keys.code_document, self.builds_on)
