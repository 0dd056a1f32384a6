"""What was computed, by content, and who computes what is not there yet."""

from headwater.store.folder import Store, is_there, store_path
from headwater.store.leases import Leases

__all__ = ["Leases", "Store", "is_there", "store_path"]
