"""`python -m headwater.cli` is the `headwater` command."""

from headwater.cli import main

main()
