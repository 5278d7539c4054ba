"""`python -m daemon.cli`: the command line without the script that installing makes."""

from daemon.cli.main import main

main()
