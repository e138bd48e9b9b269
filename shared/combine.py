"""Several methods at once, each under a name of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from .again import again
from .method import Method, Source, Target, Terms, Update

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Combine"]


class Combine(Method):
    """The sum of several methods' losses; their terms are named ``dann/domain``, ``mcc/confusion``.

    At most one part may ask for several updates a step; the others' terms then join its first.

    Args:
        parts: the methods by name, each with its own weight.

    Raises:
        ValueError: for no part, for two that ask for several updates, two that refresh at different steps, or two made
            for different numbers of sources.
        TypeError: for a part that is no Method.
    """

    weighs: ClassVar[Literal["terms", "inside"]] = "inside"

    def __init__(self, **parts: Method) -> None:
        super().__init__()
        if not parts:
            raise ValueError("Combine needs at least one method; got none. Write Combine(dann=DANN(...), ...).")
        for name, part in parts.items():
            if not isinstance(part, Method):
                raise TypeError(f"Combine needs methods; got {name}={type(part).__name__}.")
        self.parts = nn.ModuleDict(parts)
        every = {p.refresh_every for p in parts.values() if type(p).refresh is not Method.refresh}
        if len(every) > 1:
            raise ValueError(f"Combine needs one refresh_every for all parts; got {sorted(map(str, every))}.")
        self.refresh_every = next(iter(every), None)
        self.sees_target = any(p.sees_target for p in parts.values())
        self.needs = frozenset().union(*(p.needs for p in parts.values()))  # type: ignore[misc]
        self.least = max(p.least for p in parts.values())  # type: ignore[misc]
        self.watches = frozenset(f"{n}/{w}" for n, p in parts.items() for w in p.watches)  # type: ignore[misc]
        several = {p.sources for p in parts.values()} - {1}
        if len(several) > 1:
            raise ValueError(f"Combine needs parts made for the same number of sources; got {sorted(several)}.")
        self.sources = max(several, default=1)
        self._leader()

    @property
    def assumes_proportions(self) -> bool:  # type: ignore[override]
        """Whether a part does."""
        return any(part.assumes_proportions for part in self._parts().values())

    def _parts(self) -> dict[str, Method]:
        return {name: part for name, part in self.parts.items() if isinstance(part, Method)}

    def _leader(self) -> str | None:
        own = [n for n, p in self._parts().items() if p.updates() != (Update(p.terms),)]
        if len(own) > 1:
            raise ValueError(
                f"Combine can hold one method with updates of its own; got {' and '.join(own)}. Combine each with "
                "methods that only add a term."
            )
        return own[0] if own else None

    def check(self, source: Source | None, target: Target) -> None:
        super().check(source, target)
        for part in self._parts().values():
            if type(part).check is not Method.check:  # what needs and least do not say: CDAN's sizes, Pairwise's blocks
                part.check(source, target)

    def _joint(
        self, leader: str | None, update: Update | None, source: Source, target: Target, progress: Tensor
    ) -> dict[str, Tensor]:
        losses = {}
        for name, part in self._parts().items():
            own = update.terms if update is not None and name == leader else part.terms
            for key, value in part.weighted(own(source, target, progress), progress).items():
                losses[f"{name}/{key}"] = value
        return losses

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return self._joint(None, None, source, target, progress)

    def updates(self) -> tuple[Update, ...]:
        leader = self._leader()
        if leader is None:
            return (Update(self.terms),)
        first, *rest = self._parts()[leader].updates()

        def joined(source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
            return self._joint(leader, first, source, target, progress)  # type: ignore[arg-type]

        return (first._replace(terms=joined), *(u._replace(terms=self._named(leader, u)) for u in rest))

    def _named(self, leader: str, update: Update) -> Terms:
        part = self._parts()[leader]

        def terms(source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
            losses = part.weighted(update.terms(source, target, progress), progress)
            return {f"{leader}/{key}": value for key, value in losses.items()}

        return terms

    def begin(self, network: Network) -> None:
        for part in self._parts().values():
            part.begin(network)

    def refresh(self, network: Network, target_batches: Iterable[Tensor]) -> None:
        refreshed = [part for part in self._parts().values() if type(part).refresh is not Method.refresh]
        batches = again(target_batches) if len(refreshed) > 1 else target_batches
        for part in refreshed:
            part.refresh(network, batches)
