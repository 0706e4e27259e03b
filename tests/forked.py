"""Fresh processes that need not import transformers first: one has done it and is forked.

Every run ends with a process that opens what was saved as a stranger would, and five of its six seconds are imports. What is forked has
never seen headstart; which of its modules were read from disk a moment ago and which before makes no difference to what it opens.
`tests/export/test_verify.py` starts processes of their own as headstart does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_SERVER = """
import json, os, sys, traceback
import scipy.sparse, sklearn.linear_model, torch, transformers
from transformers import dynamic_module_utils, pipeline
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(asked["complaint"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        os.chdir(asked["room"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        dynamic_module_utils.HF_MODULES_CACHE = asked["environment"]["HF_MODULES_CACHE"]  # it was read when transformers was imported
        sys.argv = ["-c", *asked["arguments"]]
        status = 0
        try:
            assert "headstart" not in sys.modules
            exec(asked["program"], {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class FreshProcesses:
    """What `headstart.export.fresh.run` does, by forks of a process that starts with the first of them."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def run(self, program: str, arguments: Sequence[str], room: str, environment: Mapping[str, str]) -> tuple[int, str]:
        """The program's exit status, and what it wrote."""
        if self._server is None:
            self._server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._server.stdin is not None and self._server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            complaint = Path(folder) / "complaint"
            asked = {"program": program, "arguments": list(arguments), "room": room, "environment": dict(environment)}
            self._server.stdin.write(json.dumps({**asked, "complaint": str(complaint)}) + "\n")
            self._server.stdin.flush()
            return int(self._server.stdout.readline()), complaint.read_text(errors="replace")

    def close(self) -> None:
        """End the process."""
        if self._server is not None:
            self._server.kill()  # it has nothing to put in order, and its libraries take a second over it
            self._server.communicate()
