"""`python -m anypo_cli`, which launchers of several processes start."""

import sys

from anypo_cli import main
from anypo_cli.processes import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
