"""F6: the write-ahead log or its index missing, foreign or stale; the database of another agent or another version."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from pathlib import Path

import pytest
from spool_box import Box, image, is_true

Number = tuple[str, int]


async def _killed(folder: Path, *, agent: str = "gw-01", count: int = 60) -> tuple[Path, set[Number]]:
    """An image of a spool with a log, and what it holds."""
    folder.mkdir()
    box = Box(folder, agent=agent)
    await box.fill(count, (200, 3000, 6000))
    box.spool.forget(box.spool.epoch, [(1, 5)])
    await box.spool.flush()
    held = {(entry.epoch, entry.seq) for entry in await box.all()}
    killed = image(folder, folder / "image")
    assert (killed / "spool.db-wal").stat().st_size
    await box.spool.close()
    return killed, held


async def _opened(folder: Path) -> tuple[Box, set[Number]]:
    """The spool of an image, checked: all that comes back is true, no number is used again, and it goes on working."""
    box = Box(folder)
    found = await box.all()
    assert all(is_true(entry) for entry in found)
    numbers = {(entry.epoch, entry.seq) for entry in found}
    assert box.spool.epoch not in {epoch for epoch, _ in numbers}
    await box.fill(3)
    assert len(await box.all()) == len(found) + 3
    return box, numbers


async def test_without_its_index_nothing_is_lost(tmp_path: Path) -> None:
    killed, held = await _killed(tmp_path / "spool")
    (killed / "spool.db-shm").unlink()
    box, numbers = await _opened(killed)
    assert numbers == held
    assert box.trouble == []
    await box.spool.close()


async def test_a_foreign_index_is_worth_nothing(tmp_path: Path) -> None:
    killed, held = await _killed(tmp_path / "spool")
    other, _ = await _killed(tmp_path / "other", agent="gw-02", count=200)
    shutil.copy(other / "spool.db-shm", killed / "spool.db-shm")
    box, numbers = await _opened(killed)
    assert numbers == held
    await box.spool.close()


async def test_without_its_log_it_starts_from_the_database(tmp_path: Path) -> None:
    killed, held = await _killed(tmp_path / "spool", count=3000)
    (killed / "spool.db-wal").unlink()
    box, numbers = await _opened(killed)
    again = {(epoch, seq) for epoch, seq in numbers - held}
    assert again <= {(epoch, seq) for epoch, _ in held for seq in range(1, 6)}, (
        "only what was acknowledged since may return"
    )
    await box.spool.close()


async def test_a_foreign_log_is_set_aside_and_the_database_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    killed, held = await _killed(folder)
    shutil.rmtree(killed)
    killed = image(folder, folder / "image")  # closed cleanly: all is in the database
    assert not (killed / "spool.db-wal").exists()
    other, _ = await _killed(tmp_path / "other", agent="gw-02")
    shutil.copy(other / "spool.db-wal", killed / "spool.db-wal")
    box, numbers = await _opened(killed)
    assert numbers == held
    assert [(kind, fields["reason"]) for kind, fields in box.trouble] == [("set_aside", "foreign")]
    await box.spool.close()
    assert list(killed.glob("spool.db.foreign-wal-*"))


async def test_a_stale_log_is_set_aside(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    killed, _ = await _killed(folder)
    box = Box(folder)
    await box.fill(50)
    held = {(entry.epoch, entry.seq) for entry in await box.all()}
    await box.spool.close()
    now = image(folder, tmp_path / "now")
    shutil.copy(killed / "spool.db-wal", now / "spool.db-wal")
    box, numbers = await _opened(now)
    assert numbers == held
    assert [(kind, fields["reason"]) for kind, fields in box.trouble] == [("set_aside", "stale")]
    await box.spool.close()


async def test_a_log_without_its_database_gives_its_messages(tmp_path: Path) -> None:
    killed, held = await _killed(tmp_path / "spool")
    (killed / "spool.db").unlink()
    box, numbers = await _opened(killed)
    assert numbers | box.lost() >= held
    assert len(numbers & held) > 10
    await box.spool.close()


async def test_the_spool_of_another_agent_is_set_aside_and_not_delivered(tmp_path: Path) -> None:
    other, _ = await _killed(tmp_path / "other", agent="gw-02")
    size = (other / "spool.db").stat().st_size + (other / "spool.db-wal").stat().st_size
    box, numbers = await _opened(other)
    assert numbers == set()
    (fields,) = (fields for kind, fields in box.trouble if kind == "set_aside")
    assert fields["reason"] == "foreign"
    assert "hq/gw-02" in fields["detail"]
    await box.spool.close()
    (kept,) = (path for path in other.glob("spool.db.foreign-*") if not path.name.endswith("-wal"))
    assert kept.stat().st_size + sum(path.stat().st_size for path in other.glob("*-wal")) > size // 2
    await (again := Box(other)).spool.close()
    assert again.trouble == []


async def test_a_restored_copy_never_reuses_a_number(tmp_path: Path) -> None:
    killed, held = await _killed(tmp_path / "spool")
    epochs = set()
    for number in range(5):
        box, numbers = await _opened(image(killed, tmp_path / str(number)))
        assert numbers == held
        epochs.add(box.spool.epoch)
        await box.spool.close()
    assert len(epochs) == 5


async def test_a_spool_that_an_earlier_version_left_is_taken_over(tmp_path: Path) -> None:
    """`spool-format-1.db.gz`: written by Plantroom before it knew events, twelve messages of one epoch, of which 1, 2 and 5 were
    acknowledged, and four of the next. An upgrade in the middle of an outage loses none of them."""
    (tmp_path / "spool.db").write_bytes(gzip.decompress(Path(__file__).with_name("spool-format-1.db.gz").read_bytes()))
    box, numbers = await _opened(tmp_path)
    assert box.trouble == []
    former = {(epoch, seq) for epoch, seq in numbers if epoch == "ZHDXZ2W4KR"}
    assert {seq for _, seq in former} == {3, 4, *range(6, 13)}
    assert {seq for epoch, seq in numbers if epoch == "SH54CKQBA9"} == {1, 2, 3, 4}
    box.spool.forget("ZHDXZ2W4KR", [(1, 12)])
    box.spool.forget("SH54CKQBA9", [(1, 4)])
    await box.spool.flush()
    assert {entry.epoch for entry in await box.all()} == {box.spool.epoch}
    await box.spool.close()


@pytest.mark.parametrize("version", [0, 2, 77])
async def test_an_unknown_format_is_kept_aside(version: int, tmp_path: Path) -> None:
    """F39."""
    killed, _ = await _killed(tmp_path / "spool")
    with sqlite3.connect(killed / "spool.db") as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    box, numbers = await _opened(killed)
    assert numbers == set()
    assert [(kind, fields["reason"]) for kind, fields in box.trouble] == [("set_aside", f"format-{version}")]
    await box.spool.close()
    (kept,) = killed.glob(f"spool.db.format-{version}-*")
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT count(*) FROM message").fetchone()[0] > 0
    connection.close()


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"hello", b"SQLite format 3\0" + bytes(5000), bytes(8192), b"\xff" * 40960],
    ids=["empty", "zeros", "text", "magic", "zero-pages", "ones"],
)
async def test_any_content_opens(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(content)
    (tmp_path / "spool.db-wal").write_bytes(content)
    (tmp_path / "spool.db-shm").write_bytes(content)
    box, numbers = await _opened(tmp_path)
    assert numbers == set()
    await box.spool.close()
    await (again := Box(tmp_path)).spool.close()
    assert "set_aside" not in again.kinds()


async def test_another_program_s_database_is_set_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("CREATE TABLE contacts(name TEXT)")
    connection.close()
    box, _ = await _opened(tmp_path)
    assert [(kind, fields["reason"]) for kind, fields in box.trouble] == [("set_aside", "foreign")]
    await box.spool.close()
