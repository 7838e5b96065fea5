"""Model routes: public names, ordered targets, and a stream that survives the failures of any of them."""

from .registry import Listed, Registry, RouteInfo
from .retry import RetryPolicy
from .route import Policy, Route
from .target import Target, TargetSettings

__all__ = ["Listed", "Policy", "Registry", "RetryPolicy", "Route", "RouteInfo", "Target", "TargetSettings"]
