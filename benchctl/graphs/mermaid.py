"""The graph as a Mermaid flowchart, which GitHub and GitLab draw inside Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchctl.graphs.colors import COLORS
from benchctl.graphs.diagram import Box, Diagram

_SHAPES = {"input": ("([", "])"), "output": ("([", "])")}


def mermaid_document(diagrams: Sequence[Diagram], heading: str) -> str:
    """One flowchart; a subgraph for each diagram."""
    return "\n".join(_lines(diagrams, heading)) + "\n"


def _lines(diagrams: Sequence[Diagram], heading: str) -> Iterator[str]:
    yield f"%% {' '.join(heading.split())}"
    yield "flowchart TD"
    # A fill that is pale or dark reads on one paper only: outlines alone read on both.
    for kind, (_, color) in COLORS.items():
        yield f"  classDef {kind} stroke:{color},stroke-width:1px"
        yield f"  classDef {kind}_fused stroke:{color},stroke-width:3px"
    for diagram in diagrams:
        yield f"  subgraph {diagram.name} [{_quoted(f'{diagram.name}: {diagram.facts}')}]"
        for place, box in enumerate(diagram.boxes):
            opening, closing = _SHAPES.get(box.kind, ("[", "]"))
            kind = f"{box.kind}_fused" if box.fused else box.kind
            yield f"    {_name(diagram, place)}{opening}{_quoted(_label(box))}{closing}:::{kind}"
        for edge in diagram.edges:
            kept = diagram.is_kept(edge)
            arrow = "-.->" if kept else "-->"
            yield f"    {_name(diagram, edge.source)} {arrow} {_name(diagram, edge.target)}"
        yield "  end"


def _name(diagram: Diagram, place: int) -> str:
    return f"{diagram.name}_{place}"


def _label(box: Box) -> str:
    return "\n".join((box.heading, *box.lines))


def _quoted(text: str) -> str:
    """Text in quotes, with the characters that Mermaid would read as its own as entities."""
    escaped = text.replace("#", "#35;").replace('"', "#quot;")
    escaped = escaped.replace("<", "#lt;").replace(">", "#gt;").replace("`", "#96;")
    return '"' + escaped.replace("\n", "<br/>") + '"'
