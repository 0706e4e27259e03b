"""headstart: where to transfer from, how, and whether it helps."""

__version__ = "0.1.0"
