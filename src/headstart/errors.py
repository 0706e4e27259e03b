"""Every error that headstart raises, by who can act on it.

    HeadstartError
    ├── SettingsError     the call is wrong: the caller changes the options
    ├── DataError         the labelled file is wrong: its owner changes the file
    ├── SourceError       a pretrained source cannot be used: choose or repair the source
    ├── RunError          the run folder is in the way or incomplete: choose another folder
    └── ResourceError     the machine said no: disk, memory, permission

Each message is one plain sentence or two: the value, the place, the remedy. The command line prints it without a traceback
and leaves with `exit_status`.
"""

from __future__ import annotations


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was asked for in vain: Python's own error, torch's type on an accelerator, a plain RuntimeError of torch on a CPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))


class HeadstartError(Exception):
    """Something that a person can put right; the message says how."""

    exit_status = 2


class SettingsError(HeadstartError):
    """Options that do not exist, contradict each other, or lie outside their range. Holds every problem found, not only the first."""

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(HeadstartError):
    """The labelled data cannot be used as it is."""


class SourceError(HeadstartError):
    """A pretrained source is missing, broken or unsafe."""


class RunError(HeadstartError):
    """The run folder holds something else, or not enough."""


class ResourceError(HeadstartError):
    """Disk, memory or permission was refused by the machine."""

    exit_status = 3
