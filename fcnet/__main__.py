"""`python -m fcnet`, the same as the command `fcnet`."""

import sys

from fcnet_cli import main

sys.exit(main())
