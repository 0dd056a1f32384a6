"""What was computed, by content, and who computes what is not there yet."""

from headwater.store.cells import FinishedCell, Standing
from headwater.store.folder import Store, is_folder, is_there, store_path
from headwater.store.leases import Leases
from headwater.store.remote import ObjectStore

__all__ = [
    "FinishedCell",
    "Leases",
    "ObjectStore",
    "Standing",
    "Store",
    "is_folder",
    "is_there",
    "store_path",
]
