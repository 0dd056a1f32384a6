"""tmp"""
from headwater.study.data import Domain, WorldData
