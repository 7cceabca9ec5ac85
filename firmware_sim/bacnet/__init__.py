"""Simulated BACnet/IP devices, routers and BBMDs as they really are, and as they fail.

Own encoder and decoder, own object tables: nothing here is shared with the driver that is tested against it. The bytes are in
tags.py and npdu.py, the objects in objects.py, the services in services.py, the sockets in server.py, the physics in worlds_*.py,
and what each make of controller offers in models_*.py.
"""
