"""Run the command line: python -m differnet."""

from differnet.cli import main

main()
