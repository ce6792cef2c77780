"""`python -m anypo_cli`, which launchers of several processes start."""

import sys

from anypo_cli import main

if __name__ == "__main__":
    sys.exit(main())
