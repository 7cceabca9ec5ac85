"""Gates, doors, barriers and small controllers with an HTTP interface that a profile describes."""
