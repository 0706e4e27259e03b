"""headstart: where to transfer from, how, and whether it helps.

The public door. Everything but the errors is imported on first use, so that `import headstart` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from headstart.errors import DataError, HeadstartError, ResourceError, RunError, SettingsError, SourceError

if TYPE_CHECKING:
    from headstart._public import check, fit, rank
    from headstart.estimator import TransferClassifier
    from headstart.loaded import load

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "HeadstartError",
    "ResourceError",
    "RunError",
    "SettingsError",
    "SourceError",
    "TransferClassifier",
    "__version__",
    "check",
    "fit",
    "load",
    "rank",
]

_LAZY = {
    "TransferClassifier": "headstart.estimator",
    "check": "headstart._public",
    "fit": "headstart._public",
    "load": "headstart.loaded",
    "rank": "headstart._public",
}

# Tracebacks and help texts show the names by which users import them.
for _error in (DataError, HeadstartError, ResourceError, RunError, SettingsError, SourceError):
    _error.__module__ = "headstart"
del _error


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    value.__module__ = "headstart"
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
