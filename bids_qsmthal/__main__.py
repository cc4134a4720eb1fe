"""``python -m bids_qsmthal``."""

import sys

from bids_qsmthal.cli import main

if __name__ == "__main__":
    sys.exit(main())
