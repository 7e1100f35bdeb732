"""Run a command of this project for a hypothesis; where the input is refused, record the reason instead of failing.

Writes {"runs": true}, or {"runs": false, "reason": …} and leaves the outputs empty. A command refuses bad input with
exit code 2 and one line, `error: …`; any other failure is one.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from sims import sealed

REFUSED, PREFIX = 2, "error: "


def verdict(command, after=None):
    """Run `python -m COMMAND …`; (verdict, exit code).  after: an earlier verdict, which stands if it says no."""
    if after is not None and not after["runs"]:
        return after, 0
    run = subprocess.run([sys.executable, "-m", *command], stderr=subprocess.PIPE, text=True)
    sys.stderr.write(run.stderr)
    reasons = [line.removeprefix(PREFIX) for line in run.stderr.splitlines() if line.startswith(PREFIX)]
    if run.returncode == REFUSED and reasons:
        return {"runs": False, "reason": reasons[-1]}, 0
    return {"runs": True}, run.returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="JSON to write")
    parser.add_argument("--after", type=Path, help="an earlier verdict")
    parser.add_argument("--outputs", nargs="+", default=[], type=Path, help="files that the command writes")
    own = sys.argv[1 : sys.argv.index("--")]
    arguments = parser.parse_args(own)
    after = json.loads(arguments.after.read_text()) if arguments.after else None
    found, code = verdict(sys.argv[sys.argv.index("--") + 1 :], after)
    if code:
        sys.exit(code)
    if not found["runs"]:
        for path in arguments.outputs:
            path.write_bytes(b"")
    sealed.replace(arguments.out, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main()
