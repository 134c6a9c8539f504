"""`python -m ifpdb`: the command line where no script `ifp` was installed."""

from .cli import main

main()
