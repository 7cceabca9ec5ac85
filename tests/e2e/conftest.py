"""The broker that deploy/ describes, with its certificates and access list, for whole sites as well."""

from tests.deploy.conftest import broker, tls

__all__ = ["broker", "tls"]
