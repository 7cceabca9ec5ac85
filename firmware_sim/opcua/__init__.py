"""An OPC UA server as it stands in a plant room: a chiller plant and an energy station, with security, users and methods."""
