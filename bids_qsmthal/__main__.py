"""``python -m bids_qsmthal``."""

import sys

from bids_qsmthal.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
