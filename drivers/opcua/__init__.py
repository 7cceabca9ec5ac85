"""OPC UA over TCP, on asyncua: secure channels, certificates, batched reads, subscriptions, browsing, writes and methods."""
