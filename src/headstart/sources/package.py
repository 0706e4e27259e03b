"""Models that came as an installed package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from headstart.sources import embedded


def package_folder(name: str) -> Path | None:
    """The model folder inside an installed package, found without running the package; None when there is none.

    Args:
        name: the package, dashes or underscores alike, or the name of the embedded source.
    """
    module = (embedded.PACKAGE if name == embedded.NAME else name).replace("-", "_")
    if not module.isidentifier():
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations if spec else None) or []:
        for folder in (Path(place) / "model", Path(place)):
            if (folder / "config.json").is_file():
                return folder
    return None
