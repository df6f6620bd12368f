"""Sums over the steps of an epoch, which a checkpoint in its middle can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """Weighted means and largest values, by name."""

    sums: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float, weight: float) -> None:
        """Count a mean over so many samples."""
        self.sums[name] = self.sums.get(name, 0.0) + value * weight
        self.weights[name] = self.weights.get(name, 0.0) + weight

    def peak(self, name: str, value: float) -> None:
        """Keep the largest."""
        self.peaks[name] = max(self.peaks.get(name, value), value)

    def merge(self, other: Tally) -> None:
        """Count all that another has counted."""
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.weights[name] = self.weights.get(name, 0.0) + other.weights[name]
        for name, value in other.peaks.items():
            self.peak(name, value)

    def numbers(self) -> dict[str, float]:
        """All means, and the largest values."""
        means = {name: self.sums[name] / self.weights[name] for name in self.sums}
        return means | self.peaks

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, to the last bit."""
        return {"sums": self.sums, "weights": self.weights, "peaks": self.peaks}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Tally:
        """The inverse."""
        return cls(dict(told["sums"]), dict(told["weights"]), dict(told["peaks"]))
