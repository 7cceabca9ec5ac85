"""Store and forward: messages wait on the disk until ingest has stored them.

`store` is the agent's view, `writer` the only thread that touches the disk, `database` the SQLite file, `buffer` what is not
on the disk yet, `recovery` what to do with a file that is not whole, `space` and `thinning` the bounds.
"""

from edge_agent.spool.entry import Entry, Kind, SpoolFill
from edge_agent.spool.store import Spool

__all__ = ["Entry", "Kind", "Spool", "SpoolFill"]
