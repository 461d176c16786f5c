"""The positions of the channels of images in the fields of a dataset, as far as its description tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.batch.capabilities import capability
from headrace.images.layout import entry_layouts, layout_after
from headrace.pipeline.nodes import Cached, Concat, Map, Mixed, Node, Packing, Select, Source, Zip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.read_plan import Mapped

__all__ = ["are_apart", "image_layout", "with_layouts"]


def image_layout(node: Node, field: int | str | None) -> str | None:
    """Return where the channels of the images in a field are, "CHW" or "HWC"; None where that is not known.

    Args:
        node: of a dataset. One that reads by itself says it in a method `image_layout(field)`.
        field: the field; None for the whole sample.
    """
    functions = []
    while isinstance(node, Map | Select | Cached):
        if isinstance(node, Map) and node.field == field:
            functions.append(node.fn)
        elif isinstance(node, Map) and not are_apart(node.field, field):
            return entry_layouts(reversed(functions), None)[-1]
        node = node.input
    return entry_layouts(reversed(functions), _layout_below(node, field))[-1]


def _layout_below(node: Source | Concat | Mixed | Zip | Packing, field: int | str | None) -> str | None:
    if isinstance(node, Concat | Mixed):
        found = {image_layout(each, field) for each in node.inputs}
        return found.pop() if len(found) == 1 else None
    if isinstance(node, Zip):
        return _layout_beside(node, field)
    says = capability(node.dataset, "image_layout")
    layout: str | None = None if says is None else says(field)
    return layout


def with_layouts(node: Node, steps: Sequence[Mapped]) -> list[Mapped]:
    """Return functions mapped over a dataset, each with the layout of the images that it is applied to.

    Args:
        node: of the dataset.
        steps: the functions, the first one first.
    """
    known: dict[int | str | None, str | None] = {}
    touched: set[int | str | None] = set()
    found = []
    for step in steps:
        if step.field not in known:
            apart = all(are_apart(step.field, other) for other in touched)
            known[step.field] = image_layout(node, step.field) if apart else None
        found.append(step._replace(layout=known[step.field]))
        for field in known:  # a name may be that of a position, and a function of the whole sample changes all fields
            if field != step.field and not are_apart(field, step.field):
                known[field] = None
        known[step.field] = layout_after(step.function, known[step.field])
        touched.add(step.field)
    return found


def are_apart(one: int | str | None, other: int | str | None) -> bool:
    """Return whether two fields are surely not the same.

    A name may be that of a position, and one position may count from the end.
    """
    if isinstance(one, int) and isinstance(other, int):
        return one != other and (one < 0) == (other < 0)
    return isinstance(one, str) and isinstance(other, str) and one != other


def _layout_beside(node: Zip, field: int | str | None) -> str | None:
    fields: dict[Any, Node] = dict(enumerate(node.inputs))
    if node.names is not None:
        fields = dict(zip(node.names, node.inputs, strict=True))
    elif isinstance(field, int) and field < 0:
        field += len(fields)
    return image_layout(fields[field], None) if field in fields else None
