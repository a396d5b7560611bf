"""`python -m osum` is the command `osum`."""

import sys

from osum.cli import main

if __name__ == "__main__":
    sys.exit(main())
