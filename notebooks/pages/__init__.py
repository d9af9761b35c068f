"""The pages of the dashboard, in the order of the menu. Each names the FILTERS that bear on it,
offers `controls` of its own, set as the reader left them, and shows a `View`."""

from collections.abc import Mapping
from types import ModuleType

from notebooks.pages import agents, follow_ups, health, hours, outcomes, promises, routes

PAGES: Mapping[str, ModuleType] = {
    "outcomes": outcomes,
    "hours": hours,
    "agents": agents,
    "promises": promises,
    "follow_ups": follow_ups,
    "map": routes,
    "health": health,
}
