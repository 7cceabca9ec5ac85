"""How a simulator says that it cannot stand where it was told to. The package knows nothing of the house's errors."""

from __future__ import annotations

import os

import typer


def refused(error: OSError, other: str) -> typer.Exit:
    """Said on standard error; to be raised. `other` is what to choose another of: a port, a path."""
    place = error.filename2 or error.filename
    reason = os.strerror(error.errno) if error.errno else str(error)
    typer.echo(f"plantroom sim: {f'{place}: ' if place else ''}{reason}. Choose another {other}", err=True)
    return typer.Exit(1)
