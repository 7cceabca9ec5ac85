"""The MQTT contract, version 1: the one implementation that both sides import. No I/O in here."""
