"""What every test shares. Standing here, it also lets tests of all rooms import `tiny`."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: a test that reaches for a network fails at once
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
