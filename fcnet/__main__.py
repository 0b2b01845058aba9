"""`python -m fcnet`, the same as the command `fcnet`."""

import sys

from fcnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
