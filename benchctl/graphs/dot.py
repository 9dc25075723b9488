"""The graph in the language of Graphviz: `dot -Tpdf graph.dot > graph.pdf`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchctl.graphs.colors import COLORS
from benchctl.graphs.diagram import Box, Diagram


def dot_document(diagrams: Sequence[Diagram], heading: str) -> str:
    """One directed graph; a cluster for each diagram where there are two."""
    return "\n".join(_lines(diagrams, heading)) + "\n"


def _lines(diagrams: Sequence[Diagram], heading: str) -> Iterator[str]:
    yield f"digraph {quoted(heading)} {{"
    yield f'  label={quoted(heading)}; labelloc=t; rankdir=TB; fontname="DejaVu Sans";'
    yield '  node [shape=box, style="rounded,filled", fontname="DejaVu Sans", fontsize=10];'
    yield '  edge [color="#80858b"];'
    for diagram in diagrams:
        yield f"  subgraph {quoted(f'cluster_{diagram.name}')} {{"
        yield f"    label={quoted(f'{diagram.name}: {diagram.facts}')};"
        for place, box in enumerate(diagram.boxes):
            yield f"    {_name(diagram, place)} [{_attributes(box)}];"
        for edge in diagram.edges:
            ends = f"{_name(diagram, edge.source)} -> {_name(diagram, edge.target)}"
            kept = diagram.is_kept(edge)
            style = ", style=dashed" if kept else ""
            yield f"    {ends} [tooltip={quoted(', '.join(edge.tensors))}{style}];"
        yield "  }"
    yield "}"


def _name(diagram: Diagram, place: int) -> str:
    return quoted(f"{diagram.name} {place}")


def _attributes(box: Box) -> str:
    label = "".join(f"{_escaped(line)}\\l" for line in (box.heading, *box.lines))
    fill, outline = COLORS[box.kind]
    width = 2 if box.fused else 1
    return (
        f'label="{label}", fillcolor="{fill}", color="{outline}", penwidth={width}, '
        f"tooltip={quoted(box.about)}"
    )


def quoted(text: str) -> str:
    """Text as a string of the language."""
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
