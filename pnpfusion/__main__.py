"""``python -m pnpfusion`` is the command ``pnpfusion``."""

import sys

from pnpfusion.cli import main

if __name__ == "__main__":
    sys.exit(main())
