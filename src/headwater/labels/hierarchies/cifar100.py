"""CIFAR-100's 100 classes and 20 superclasses (Krizhevsky 2009, table on the data set's page), as
its `fine` and `coarse` labels name them.
"""

from __future__ import annotations

from functools import cache

from headwater.labels.hierarchy import Hierarchy

COARSE = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
"""The five classes of each superclass."""


@cache
def cifar100() -> Hierarchy:
    """The tree of two ranks, `coarse` above `fine`."""
    edges = [(coarse, fine) for coarse, row in COARSE.items() for fine in row.split()]
    ranks = dict.fromkeys(COARSE, "coarse") | {fine: "fine" for _, fine in edges}
    return Hierarchy.from_edges(edges, where="cifar100", ranks=ranks)
