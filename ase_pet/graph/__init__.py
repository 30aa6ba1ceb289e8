"""Structures as batched graphs: validated input, neighbour lists, edge vectors."""

from .batch import Graph, build
from .neighbours import HalfList, VerletList, half_list
from .partners import OneProcess, Route, Transport
from .room import AS_NEEDED, Lengths, Outgrown, Room
from .routes import find_route
from .structure import CLOSEST, InvalidStructure, Structure, check, check_distances, from_atoms

__all__ = [
    "AS_NEEDED",
    "CLOSEST",
    "Graph",
    "HalfList",
    "InvalidStructure",
    "Lengths",
    "OneProcess",
    "Outgrown",
    "Room",
    "Route",
    "Structure",
    "Transport",
    "VerletList",
    "build",
    "check",
    "check_distances",
    "find_route",
    "from_atoms",
    "half_list",
]
