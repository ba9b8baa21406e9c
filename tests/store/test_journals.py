"""Reading journals that are cut off, torn, damaged or alive: what is committed is found, and nothing else raises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.store.journaling import small_journal
from tracker.errors import DamagedJournal, NewerFormat
from tracker.store import frames, journals
from tracker.store.journals import Frames, decode_journal, read_journal
from tracker.store.tables import build_tables


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal with 100 iterations and three values in each."""
    return small_journal(tmp_path_factory.mktemp("store") / "store")


@pytest.fixture(scope="module")
def whole(journal: bytes) -> Frames:
    """All its frames."""
    return decode_journal(journal, key="whole")


def values(found: Frames) -> dict[str, list[object]]:
    """The columns of the only loop's table; texts as they are, without the rows where nothing is."""
    for table in build_tables(found).tables:
        if table.path == "step":
            return {name: table.table.column(name).drop_null().to_pylist() for name in table.table.column_names}
    return {}


def flipped(data: bytes, position: int) -> bytearray:
    """A copy with every bit of one byte turned."""
    copy = bytearray(data)
    copy[position] ^= 0xFF
    return copy


def test_a_journal_cut_at_any_byte_of_its_last_page_keeps_every_whole_frame(journal: bytes, whole: Frames) -> None:
    """What lies before the cut is read, and the bytes that are missing are counted."""
    start = whole.layout.slots_start
    last_page = start + (whole.end - 1) // frames.SLOTS_PER_PAGE * frames.PAGE_BYTES

    for cut in range(last_page, last_page + frames.PAGE_BYTES + 1):
        found = decode_journal(journal[:cut], key="cut")
        expected = min((cut - start) // frames.SLOT_BYTES, whole.end)
        assert found.end == expected
        assert (found.kind[1:expected] == whole.kind[1:expected]).all()
        assert found.dropped_bytes == whole.layout.file_bytes - cut


def test_values_before_a_cut_are_read_in_full(journal: bytes, whole: Frames) -> None:
    """Columns of a cut journal are the beginnings of the whole ones."""
    everything = values(whole)

    for slot in range(2, whole.end, 23):
        cut = whole.layout.slots_start + slot * frames.SLOT_BYTES + slot % 32
        for name, column in values(decode_journal(journal[:cut], key="cut")).items():
            assert column == everything[name][: len(column)]
            assert len(column) >= (slot - 10) // 4 - 1


def test_a_file_cut_anywhere_is_read_or_named(tmp_path: Path, journal: bytes) -> None:
    """From an empty file to a whole one: frames, or one clear error."""
    path = tmp_path / "cut.journal"
    for cut in [0, 1, 7, 31, 32, 40, 200, *range(0, len(journal), 4001), len(journal)]:
        path.write_bytes(journal[:cut])
        if cut < 4096 + 4096:  # inside the header page and the table of checksums
            with pytest.raises(DamagedJournal, match=re.escape(str(path))):
                read_journal(path)
        else:
            build_tables(read_journal(path))


def test_any_damaged_byte_of_a_checked_page_drops_that_page_alone(journal: bytes, whole: Frames) -> None:
    """Every byte of a page is under its checksum; neighbouring pages are not touched."""
    page = 1
    start = whole.layout.slots_start + page * frames.PAGE_BYTES
    inside = np.zeros(len(whole.kind), bool)
    inside[page * frames.SLOTS_PER_PAGE : (page + 1) * frames.SLOTS_PER_PAGE] = True

    for position in range(start, start + frames.PAGE_BYTES):
        found = decode_journal(flipped(journal, position), key="flipped")
        assert found.dropped_bytes == frames.PAGE_BYTES
        assert not found.kind[inside].any()
        assert (found.kind[~inside] == whole.kind[~inside]).all()


def test_a_dropped_page_loses_no_value_outside_it(journal: bytes, whole: Frames) -> None:
    """Values of iterations that began in the page are lost and counted, all others are read."""
    found = decode_journal(flipped(journal, whole.layout.slots_start + frames.PAGE_BYTES + 5), key="flipped")

    built = build_tables(found)
    kept = values(found)["loss"]
    assert built.lost_records <= 3
    assert set(kept) < {step + 0.5 for step in range(100)}
    assert len(kept) >= 100 - frames.SLOTS_PER_PAGE // 4 - 1


def damaged(journal: bytes, layout: frames.Layout) -> Iterator[tuple[int, bytearray]]:
    """The journal without checksums, damaged somewhere in its slots or its heap."""
    plain = bytearray(journal)
    plain[frames.HEADER_BYTES : layout.heap_start] = bytes(layout.heap_start - frames.HEADER_BYTES)
    heap = range(layout.heap_start, layout.heap_start + 2500, 11)
    slots = range(layout.slots_start, layout.slots_start + 450 * frames.SLOT_BYTES, 13)
    for position in (*heap, *slots):
        yield position, flipped(bytes(plain), position)


def test_damage_without_a_checksum_never_raises(journal: bytes, whole: Frames) -> None:
    """A damaged byte costs the records that it is about, at most; no reader falls over it."""
    worst = 0
    for position, data in damaged(journal, whole.layout):
        built = build_tables(decode_journal(data, key=f"byte {position}"))
        worst = max(worst, built.lost_records)
    assert 0 < worst <= 300


def test_a_damaged_text_is_lost_and_counted_alone(journal: bytes, whole: Frames) -> None:
    """Payloads carry checksums: what is damaged is not shown as something else."""
    slot = int((whole.kind == frames.TEXT).nonzero()[0][10])
    offset = int(whole.value[slot]) & frames.NUMBER_MASK

    found = decode_journal(flipped(journal, whole.layout.heap_start + offset + 2), key="flipped")

    assert build_tables(found).lost_records == 1
    assert values(found)["note"] == [f"text {step}" for step in range(100) if step != 10]


def test_a_damaged_header_is_named_and_a_newer_format_too(journal: bytes) -> None:
    """Every byte of the header counts; a newer version says that an upgrade reads it."""
    length = int.from_bytes(journal[24:28], "little")

    for position in range(32 + length):
        with pytest.raises((DamagedJournal, NewerFormat), match="runs/x/journal/y"):
            decode_journal(flipped(journal, position), key="runs/x/journal/y")


def test_zeroes_are_no_journal(tmp_path: Path) -> None:
    """A file whose header never reached the disk holds nothing, and says so."""
    (tmp_path / "zero").write_bytes(bytes(1 << 16))

    with pytest.raises(DamagedJournal, match="not a journal"):
        read_journal(tmp_path / "zero")


def test_names_of_which_all_are_lost_leave_counted_records(journal: bytes, whole: Frames) -> None:
    """Without any name nothing can be told apart, and everything is counted."""
    data = bytearray(journal)
    data[whole.layout.heap_start : whole.layout.slots_start] = bytes(whole.layout.heap_bytes)

    built = build_tables(decode_journal(data, key="no heap"))

    assert (built.tables, built.lost_records) == ([], 300)


def test_a_frame_that_the_first_pass_missed_is_read_again(
    tmp_path: Path, journal: bytes, whole: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed behind the reader, before others that lay ahead; what came after the last of these stays out."""
    path = tmp_path / "live.journal"
    path.write_bytes(journal)
    committed, passes = journals._committed, []

    def reading_slowly(slots: memoryview) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        found = committed(slots).copy()
        if not passes:
            found[[50, 51, 90]] = False
            found[whole.end - 8 :] = False
        passes.append(found)
        return found

    monkeypatch.setattr(journals, "_committed", reading_slowly)
    found = read_journal(path)

    assert len(passes) == 3
    assert found.end == whole.end - 8
    assert (found.kind[1 : found.end] == whole.kind[1 : found.end]).all()
