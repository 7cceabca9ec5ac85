"""ISAPI, the HTTP interface of Hikvision and of makes that took it over: cameras, recorders, plate cameras, access terminals.

Source: Hikvision, Intelligent Security API (General Application) Developer Guide; ISAPI, Access Control on Person; chapters as
each module says, where known.
"""
