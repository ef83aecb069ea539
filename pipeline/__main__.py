"""`python -m pipeline` is the command `metrics-pipeline`."""

from pipeline.cli import main

main()
