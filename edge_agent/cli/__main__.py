"""`python -m edge_agent.cli` is `plantroom`."""

from edge_agent.cli import main

main()
