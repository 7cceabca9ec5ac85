"""Collects what is wrong with a file that people write, so that they see all of it at once.

A problem stops the start, a warning does not. Both carry file, line, observed value and one next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from device_profiles.errors import ConfigError
from device_profiles.findings import did_you_mean, shown, validation_findings
from device_profiles.yamlfile import Document, KeyPath

MAX_PROBLEMS = 200
"""More are counted, not listed: a list that nobody reads helps nobody, and a generated file may have 100,000."""

M = TypeVar("M", bound=BaseModel)


class Problems:
    """Problems and warnings of one document. `strict` makes problems of exposed secrets, with which the programs start."""

    def __init__(self, document: Document, *, strict: bool = False) -> None:
        self.document = document
        self.strict = strict
        self.count = 0
        self._problems: list[ConfigError] = []
        self._warnings: list[ConfigError] = []

    @property
    def problems(self) -> tuple[ConfigError, ...]:
        return tuple(self._problems)

    @property
    def warnings(self) -> tuple[ConfigError, ...]:
        return tuple(self._warnings)

    def add(self, path: KeyPath, what: str, next_step: str) -> None:
        """One problem at a path of the document."""
        self.count += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(ConfigError(what, where=self.document.where(path), next_step=next_step))

    def adopt(self, found: Sequence[ConfigError]) -> None:
        """Problems that already say where they are."""
        self.count += len(found)
        self._problems += found[: max(0, MAX_PROBLEMS - len(self._problems))]

    def warn(self, path: KeyPath, what: str, next_step: str) -> None:
        """Something that works and should not stay so."""
        if len(self._warnings) < MAX_PROBLEMS:
            self._warnings.append(ConfigError(what, where=self.document.where(path), next_step=next_step))

    def expose(self, path: KeyPath, what: str, next_step: str) -> None:
        """A secret that others can see: the program runs all the same, and `plantroom check` says no."""
        (self.add if self.strict else self.warn)(path, what, next_step)

    def unknown(self, path: KeyPath, kind: str, name: Any, known: Sequence[str]) -> None:
        """A name that stands for nothing: `link "rs485-2" unknown, did you mean "rs485-1"?`."""
        self.add(path, f"{kind} {shown(name)} unknown", did_you_mean(name, known, otherwise="there are"))

    def parse(self, model: type[M], data: Any, path: KeyPath) -> M | None:
        """The data as a model; None, with every finding noted, when it is not one."""
        try:
            return model.model_validate(data)
        except ValidationError as cause:
            if self.count < MAX_PROBLEMS:
                self.adopt(validation_findings(cause, self.document, model, at=path))
            else:
                self.count += cause.error_count()
            return None

    def raise_if_any(self) -> None:
        """Raises ConfigError with all problems, once there is one."""
        if not self.count:
            return
        found = list(self._problems)
        if self.count > len(found):
            more = f"and {self.count - len(found)} more problems"
            found.append(ConfigError(more, where=self.document.file, next_step="correct the ones above first"))
        raise ConfigError(f"{self.count} problems in {self.document.file}", problems=found)


def finding(error: ConfigError) -> dict[str, str]:
    """A problem or warning for programs."""
    return {"where": error.where, "what": error.what, "next_step": error.next_step}
