"""Notes on structures, collected so that those of one kind give one line."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field


@dataclass
class Notes:
    """Notes on structures, collected so that thousands of them give one line for each kind."""

    places: dict[str, list[str]] = field(default_factory=dict)  # {note: structures}

    def add(self, note: str, where: str) -> None:
        """Add a note on a structure.

        Parameters
        ----------
        note:
            Text, the same for structures of the same kind.
        where:
            What messages call the structure.
        """
        self.places.setdefault(note, []).append(where)

    def warn(self) -> None:
        """Give each note as a warning, with the first of its structures, and forget it."""
        for note, places in self.places.items():
            first, *others = dict.fromkeys(places)
            more = f" and {len(others)} more" if others else ""
            warnings.warn(f"{first}{more}: {note}", stacklevel=3)
        self.places.clear()
