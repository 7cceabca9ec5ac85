"""Devices whose messages are described in their profile (`strings`): asked, heard, written and told, over any stream of bytes."""
