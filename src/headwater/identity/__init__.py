"""Who calls, what they may do, and how much of it: keys, tokens, tickets and meters. Knows no HTTP and no streams.

Nothing heavy comes with this package: the database's and the tokens' modules are imported when they are used.
"""

from .authenticator import Identity
from .meters import Meters, Standing
from .principal import ANONYMOUS, SCOPES, SINGLE_USER, Meter, Principal, tenant_path
from .settings import IdentitySettings
from .stores import NoStore, OpenedStore, StoreSource

__all__ = [
    "ANONYMOUS",
    "SCOPES",
    "SINGLE_USER",
    "Identity",
    "IdentitySettings",
    "Meter",
    "Meters",
    "NoStore",
    "OpenedStore",
    "Principal",
    "Standing",
    "StoreSource",
    "tenant_path",
]
