"""Programs in a process of their own: what somebody who never imported headstart would do with a saved model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.errors import RunError

# Not `sys.stdin`: a thread that waits there in a buffer's lock ends the interpreter with an error.
_ENDS_WITH_ITS_PARENT = """
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
"""


def ask(folder: Path, program: str, texts: Sequence[Any]) -> list[Any]:
    """What `program` says of each text, in a fresh process.

    Args:
        folder: the model folder.
        program: it is given the folder, a JSON file of the texts, and where to write a JSON file of what it says.
        texts: as people give them.

    Raises:
        RunError: the process failed, with the last line of its complaint.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-verify-") as room:
        asked, answer = Path(room) / "texts.json", Path(room) / "answers.json"
        asked.write_text(json.dumps(list(texts)), encoding="utf-8")
        # The folder's code is copied to a cache before it runs; one of this check's own can be neither stale nor unwritable.
        environment = os.environ | {
            "HF_MODULES_CACHE": str(Path(room) / "modules"),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        status, complaint = run(program, [str(folder), str(asked), str(answer)], room, environment)
        if status != 0 or not answer.is_file():
            last = (complaint.strip().splitlines() or [f"exit status {status}"])[-1]
            raise RunError(f"The model saved to {str(folder)!r} does not open in a fresh process: {last}")
        found: list[Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def run(program: str, arguments: Sequence[str], room: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a program in the folder `room`; its exit status, and what it wrote to its standard error.

    However this process ends, the other does not outlive it: its standard input is a pipe that is held open here, and closes with it.
    """
    command = [sys.executable, "-c", _ENDS_WITH_ITS_PARENT + program, *arguments]
    reads, held_open = os.pipe()
    try:
        done = subprocess.run(
            command, cwd=room, env=environment, stdin=reads, capture_output=True, text=True, errors="replace", check=False
        )
    finally:
        os.close(reads)
        os.close(held_open)
    return done.returncode, done.stderr
