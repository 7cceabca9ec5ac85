"""Reads, hears and asks the devices of a link.

Who is next: `schedule`, `turns`, `lanes`, `asked`. What one device is: `polled`, `group`, `subscription`, `ratios`. What it said
and remembers: `reader`, `listener`, `fresh`, `learned`, `recalling`. Who keeps it running: `poller`, `supervisor`.
"""
