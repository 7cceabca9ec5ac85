"""The layout of the embedded store's file: tables, and the one integer key that holds series and time.

A series is (site, device, measurement). All its values of one moment are one row, a JSON object by point id: one write a
message is what makes the store fast, and `sqlite3` and its JSON functions read it without us. `key` = series * 2^42 + UTC ms,
so a series is one stretch of one B-tree, in order of time, up to the year 2109 and for two million series.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from device_profiles.errors import StoreError, StoreUnavailable
from gateway.stores.base import StoreMisconfigured

TIME_BITS = 42
TIME_MASK = (1 << TIME_BITS) - 1
VERSION = 1
POINT = "point"
"""The measurement of the points without a column of their own."""

_TABLES = """
CREATE TABLE series(id INTEGER PRIMARY KEY, site TEXT NOT NULL, dev TEXT NOT NULL, cls TEXT NOT NULL, UNIQUE(site, dev, cls));
CREATE TABLE reading(key INTEGER PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE quality(site TEXT, dev TEXT, pt TEXT, t INTEGER, q INTEGER NOT NULL, sc TEXT NOT NULL, flags TEXT NOT NULL,
  PRIMARY KEY(site, dev, pt, t)) WITHOUT ROWID;
CREATE TABLE event(t_ns INTEGER, site TEXT, dev TEXT, type TEXT, id TEXT NOT NULL, agent TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY(t_ns, site, dev, type, id)) WITHOUT ROWID;
CREATE INDEX event_of_device ON event(site, dev, t_ns);
CREATE TABLE ledger(agent TEXT, epoch TEXT, a INTEGER, b INTEGER NOT NULL, t INTEGER NOT NULL, PRIMARY KEY(agent, epoch, a))
  WITHOUT ROWID;
CREATE TABLE quarter(key INTEGER PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE day(key INTEGER PRIMARY KEY, tz TEXT NOT NULL, fields TEXT NOT NULL);
CREATE TABLE dirty(key INTEGER PRIMARY KEY);
"""
# quarter and day hold summaries by point id (gateway.rollup); dirty holds the keys of quarters that have to be summed up anew.


def open_writer(path: Path) -> sqlite3.Connection:
    """The writing connection; makes the file and its tables when there are none. Raises StoreError.

    FULL and not NORMAL: the acknowledgement that follows a commit makes the agent forget the message, so the commit has to
    survive a power cut, and NORMAL syncs the log at checkpoints only. Group commit makes it cheap: one sync a batch.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        db.execute("PRAGMA page_size=8192")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-65536")
        db.execute("PRAGMA wal_autocheckpoint=2000")
        db.execute("PRAGMA journal_size_limit=67108864")
        db.execute("PRAGMA locking_mode=NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={VERSION}; COMMIT;")
        elif version != VERSION:
            raise StoreMisconfigured(
                f"the file has layout {version}, this version knows layout {VERSION}",
                where=str(path),
                next_step="start the version that wrote it, or set the file aside",
            )
    except (OSError, sqlite3.Error) as error:
        raise as_store_error(error, path) from error
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; any thread may use it, one at a time."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA query_only=1")
    db.execute("PRAGMA cache_size=-16384")
    db.execute("PRAGMA busy_timeout=5000")
    return db


def as_store_error(error: Exception, path: Path) -> StoreError:
    """What SQLite or the file system said, as one of our errors. A full or locked disk may recover, a damaged file does not."""
    text = str(error)
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return StoreMisconfigured(
            f"the file is damaged: {text}", where=str(path), next_step="set it aside and restore the last backup"
        )
    step = "free some space" if "full" in text else "check the disk, the path and who else has the file open"
    return StoreUnavailable(text, where=str(path), next_step=step)
