"""Simulated devices as they really are, and as they fail.

Imports none of the other packages and reads no profile: a simulator that shared the decoder or the map would confirm their
mistakes. Registers come from the makers' documents, values from a physical world (worlds.py, plant.py), bytes on a serial line at
the pace of the line (wire.py, line.py), and what goes wrong from faults.py and tcp_proxy.py.
"""
