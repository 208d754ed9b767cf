"""The command: `throng`, and `python -m throng`."""

import os
import signal
import sys
from typing import NoReturn

from . import _throng


def main() -> NoReturn:
    """Carries the command out with the arguments of this process."""
    # The command handles signals itself; Python's handler would only set a flag.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = _throng.main(sys.argv[1:])
    # Nothing of Python is left to do, and threads of the command may still sleep.
    os._exit(code)


if __name__ == "__main__":
    main()
