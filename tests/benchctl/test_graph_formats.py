"""Graphs as SVG, DOT, Mermaid and TensorBoard logs, read back by readers of other hands."""

from __future__ import annotations

import itertools
import re
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from drawn_graphs import SMALL_VGG, drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from tfevents import Message, crc32c, events, inside, message, records, text

from benchctl.graphs import event_file
from benchctl.graphs.diagram import Box, Diagram, Edge, diagrams_of
from benchctl.graphs.dot import dot_document
from benchctl.graphs.event_file import ScalarLog
from benchctl.graphs.mermaid import mermaid_document
from benchctl.graphs.svg import svg_document
from benchctl.graphs.svg_style import HEADING_SIZE, LINE_SIZE, TITLE_SIZE
from benchctl.graphs.tensorboard import node_names, write_graph
from benchctl.graphs.text import text_width, wrapped
from benchctl_engines.contract import GraphView

SVG = "{http://www.w3.org/2000/svg}"
CASES = [("xyz",), ("vgg16", *SMALL_VGG), ("vgg16", *SMALL_VGG, "mode=training")]
every_case = pytest.mark.parametrize("case", CASES, ids=" ".join)
few = settings(max_examples=15, deadline=None)
awkward = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=30)


@st.composite
def diagrams(draw) -> Diagram:
    """Boxes with any words and edges between them."""
    count = draw(st.integers(1, 6))
    kinds = st.sampled_from(["input", "output", "forward"])
    boxes = tuple(
        Box(
            draw(kinds),
            draw(awkward),
            draw(st.sampled_from(["", "backward"])),
            tuple(draw(st.lists(awkward, max_size=3))),
            (f"operation_{place}",),
            draw(st.booleans()),
            draw(st.sampled_from([0.0, 0.3])),
        )
        for place in range(count)
    )
    pairs = list(itertools.combinations(range(count), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)) if pairs else []
    edges = tuple(Edge(one, other, ()) for one, other in chosen)
    return Diagram("before", draw(awkward), boxes, edges, frozenset(), GraphView((), (), {}))


# ----- SVG --------------------------------------------------------------------------------------


class Picture:
    """An SVG as a reader of XML sees it: rectangles and texts with their places on the canvas."""

    def __init__(self, document: str) -> None:
        self.root = ElementTree.fromstring(document)
        self.width, self.height = (float(self.root.get(each)) for each in ("width", "height"))
        self.boxes: list[tuple[tuple[float, ...], list[tuple[float, ...]]]] = []
        self.texts: list[tuple[float, ...]] = []
        self.titles: list[str] = []
        self._read(self.root, (0.0, 0.0))

    def _read(self, element, shift: tuple[float, float]) -> None:
        if moved := re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", "")):
            shift = shift[0] + float(moved[1]), shift[1] + float(moved[2])
        classes = element.get("class", "").split()
        if element.tag == f"{SVG}text":
            self.texts.append(self._text(element, shift))
        if classes[:1] == ["box"] and element.find(f"{SVG}text") is not None:
            body = element.find(f"{SVG}rect")
            left, top, width, height = (float(body.get(n)) for n in ("x", "y", "width", "height"))
            left, top = left + shift[0], top + shift[1]
            own = [self._text(each, shift) for each in element.iter(f"{SVG}text")]
            self.boxes.append(((left, top, left + width, top + height), own))
            self.titles.append(element.find(f"{SVG}title").text)
        for each in element:
            self._read(each, shift)

    @staticmethod
    def _text(element, shift: tuple[float, float]) -> tuple[float, ...]:
        sizes = {"heading": HEADING_SIZE, "title": TITLE_SIZE}
        kind = element.get("class", "")
        size = sizes.get(kind, LINE_SIZE)
        x, y = float(element.get("x")) + shift[0], float(element.get("y")) + shift[1]
        width = text_width(element.text or "", size, bold=kind in sizes)
        # From the top of capitals to the foot of a g.
        return x, y - 0.76 * size, x + width, y + 0.24 * size


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    margin = 0.2
    return (
        one[0] < other[2] - margin
        and other[0] < one[2] - margin
        and one[1] < other[3] - margin
        and other[1] < one[3] - margin
    )


def contains(outer: tuple[float, ...], inner: tuple[float, ...]) -> bool:
    return (
        outer[0] <= inner[0] + 0.2
        and outer[1] <= inner[1] + 0.2
        and inner[2] <= outer[2] + 0.2
        and inner[3] <= outer[3] + 0.2
    )


def problems_of(document: str) -> list[str]:
    """Texts that overlap, leave their box or the canvas; boxes that overlap or leave it."""
    picture = Picture(document)
    canvas = (0.0, 0.0, picture.width, picture.height)
    found = []
    for one, other in itertools.combinations([box for box, _ in picture.boxes], 2):
        if overlap(one, other):
            found.append(f"boxes {one} and {other}")
    for one, other in itertools.combinations(picture.texts, 2):
        if overlap(one, other):
            found.append(f"texts {one} and {other}")
    for box, texts in picture.boxes:
        found += [f"text {each} outside {box}" for each in texts if not contains(box, each)]
        found += [] if contains(canvas, box) else [f"box {box} outside the canvas"]
    found += [f"text {each} outside" for each in picture.texts if not contains(canvas, each)]
    return found


@every_case
@pytest.mark.parametrize("expand", [True, False])
def test_a_picture_has_every_operation_and_nothing_cut_or_overlapping(case, expand: bool) -> None:
    made = drawn(*case)
    seconds = [1e-4] * len(made.graphs.after.operations)
    chosen = diagrams_of(made.graphs, expand=expand, launch_seconds=seconds)
    document = svg_document(chosen, "A heading & <more>")
    assert problems_of(document) == []
    shown = [name for title in Picture(document).titles for name in title.split(", ")]
    for view in (made.graphs.before, made.graphs.after):
        assert {each.name for each in view.operations} <= set(shown)
    assert document.count('class="edge') >= sum(len(each.edges) for each in chosen)
    assert svg_document(chosen, "A heading & <more>") == document


@few
@given(st.lists(diagrams(), min_size=1, max_size=2), awkward)
def test_any_words_fit(drawn_diagrams: list[Diagram], heading: str) -> None:
    assert problems_of(svg_document(drawn_diagrams, heading)) == []


def test_a_picture_with_a_fault_would_be_seen() -> None:
    document = svg_document(diagrams_of(drawn("xyz").graphs), "xyz")
    for find, fault in (
        (r'(<rect class="body"[^>]* width=")[\d.]+', r"\g<1>10"),
        (r'(<rect class="body" x=")[\d.]+', r"\g<1>-500"),
        (r'(<svg[^>]* width=")[\d.]+', r"\g<1>50"),
        (r'(class="heading">)', r"\g<1>" + "much longer than there is room " * 9),
    ):
        assert problems_of(re.sub(find, fault, document)) != [], find


def test_colours_follow_the_paper_of_the_viewer() -> None:
    document = svg_document(diagrams_of(drawn("xyz").graphs), "xyz")
    assert "@media (prefers-color-scheme: dark)" in document
    assert "<script" not in document and "http" not in document.replace(
        "http://www.w3.org/2000/svg", ""
    )


def test_text_is_broken_where_it_is_too_wide() -> None:
    long = "conv2d_epilogue:winograd_filtering, " * 6 + "x" * 200
    lines = wrapped(long, 200, LINE_SIZE)
    assert all(text_width(line, LINE_SIZE) <= 200 for line in lines)
    assert "".join(lines).replace(" ", "") == long.replace(" ", "")
    assert text_width("WW", 10) > text_width("ii", 10)
    assert text_width("title", 10, bold=True) > text_width("title", 10)


# ----- DOT and Mermaid --------------------------------------------------------------------------

DOT_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|->|[A-Za-z_0-9.]+|[{}\[\];=,])', re.DOTALL)


def dot_tokens(document: str) -> list[str]:
    """The tokens of a DOT document; raises where it has something else."""
    tokens, place = [], 0
    document = document.strip()
    while place < len(document):
        found = DOT_TOKEN.match(document, place)
        assert found, document[place : place + 40]
        tokens.append(found[1])
        place = found.end()
    return tokens


def dot_graph(document: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Labels of the nodes of all clusters, and the edges."""
    tokens = dot_tokens(document)
    assert tokens[0] == "digraph" and tokens.count("{") == tokens.count("}")
    nodes: dict[str, str] = {}
    edges: set[tuple[str, str]] = set()
    for place, token in enumerate(tokens):
        if token == "->":
            edges.add((tokens[place - 1], tokens[place + 1]))
        elif token == "[" and tokens[place - 1].startswith('"') and tokens[place - 2] != "->":
            assert tokens[place + 1 : place + 3] == ["label", "="]
            nodes[tokens[place - 1]] = tokens[place + 3][1:-1]
    return nodes, edges


@every_case
def test_dot_has_the_boxes_and_edges_of_the_diagrams(case) -> None:
    chosen = diagrams_of(drawn(*case).graphs)
    nodes, edges = dot_graph(dot_document(chosen, "x"))
    assert list(nodes) == [
        f'"{diagram.name} {place}"' for diagram in chosen for place in range(len(diagram.boxes))
    ]
    assert edges == {
        (f'"{diagram.name} {edge.source}"', f'"{diagram.name} {edge.target}"')
        for diagram in chosen
        for edge in diagram.edges
    }


@few
@given(diagrams(), awkward)
def test_dot_keeps_any_words(diagram: Diagram, heading: str) -> None:
    nodes, edges = dot_graph(dot_document([diagram], heading))
    assert len(edges) == len(diagram.edges)
    for label, box in zip(nodes.values(), diagram.boxes, strict=True):
        lines = [each.replace('\\"', '"').replace("\\\\", "\\") for each in split_label(label)]
        assert lines[1:] == list(box.lines) and lines[0].startswith(box.title)


def split_label(label: str) -> list[str]:
    """The lines of a label, each ended by an unescaped `\\l`."""
    lines, line, place = [], "", 0
    while place < len(label):
        if label.startswith("\\l", place):
            lines.append(line)
            line, place = "", place + 2
        elif label[place] == "\\":
            line, place = line + label[place : place + 2], place + 2
        else:
            line, place = line + label[place], place + 1
    assert line == ""
    return lines


MERMAID_NODE = re.compile(r'(\w+)(\(\[|\[)"([^"]*)"(\]\)|\]):::(\w+)')
MERMAID_EDGE = re.compile(r"(\w+) (?:-->|-\.->) (\w+)")


def mermaid_graph(document: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    nodes: dict[str, str] = {}
    edges: set[tuple[str, str]] = set()
    comment, head, *lines = document.splitlines()
    assert comment.startswith("%% ") and head == "flowchart TD"
    for line in map(str.strip, lines):
        if node := MERMAID_NODE.fullmatch(line):
            nodes[node[1]] = node[3]
        elif edge := MERMAID_EDGE.fullmatch(line):
            edges.add((edge[1], edge[2]))
        else:
            assert re.fullmatch(r'end|classDef .*|subgraph \w+ \["[^"]*"\]', line), line
    return nodes, edges


@every_case
def test_mermaid_has_the_boxes_and_edges_of_the_diagrams(case) -> None:
    chosen = diagrams_of(drawn(*case).graphs)
    nodes, edges = mermaid_graph(mermaid_document(chosen, "x"))
    assert len(nodes) == sum(len(each.boxes) for each in chosen)
    assert edges == {
        (f"{diagram.name}_{edge.source}", f"{diagram.name}_{edge.target}")
        for diagram in chosen
        for edge in diagram.edges
    }


@few
@given(diagrams(), awkward)
def test_mermaid_keeps_any_words(diagram: Diagram, heading: str) -> None:
    nodes, edges = mermaid_graph(mermaid_document([diagram], heading))
    assert len(edges) == len(diagram.edges)
    named = {"#quot;": '"', "#35;": "#", "#lt;": "<", "#gt;": ">", "#96;": "`"}
    for label, box in zip(nodes.values(), diagram.boxes, strict=True):
        lines = [
            re.sub("|".join(named), lambda found: named[found[0]], line)
            for line in label.split("<br/>")
        ]
        assert lines[1:] == list(box.lines)


# ----- TensorBoard ------------------------------------------------------------------------------


def graph_nodes(path: Path) -> dict[str, Message]:
    version, graph, *_ = events(path)
    assert text(version[3][0]) == "brain.Event:2"
    nodes = [message(each) for each in inside(graph, 4)[1]]
    return {text(each[1][0]): each for each in nodes}


def attributes_of(node: Message) -> dict[str, Message]:
    pairs = [message(each) for each in node[5]]
    return {text(pair[1][0]): message(pair[2][0]) for pair in pairs}


@every_case
def test_a_log_holds_every_operation_with_its_inputs_shapes_and_memory(case, tmp_path) -> None:
    made = drawn(*case)
    for view in (made.graphs.before, made.graphs.after):
        path = write_graph(tmp_path, view, now=lambda: 1e9)
        nodes, names = graph_nodes(path), node_names(view)
        assert set(nodes) == set(names.values()) and len(set(names.values())) == len(names)
        tensors = {each.name: each for each in view.tensors}
        for operation in view.operations:
            node = nodes[names[operation.name]]
            attributes = attributes_of(node)
            assert text(node[2][0]) == operation.primitive
            read = [text(each) for each in node.get(3, [])]
            assert [each.partition(":")[0] for each in read] == [
                names.get(name, names.get(name.rpartition(":")[0])) for name in operation.inputs
            ]
            shapes = [message(each) for each in inside(attributes["_output_shapes"], 1)[7]]
            sizes = [tuple(message(dim)[1][0] for dim in shape.get(2, [])) for shape in shapes]
            made_tensors = [tensors[name] for name in operation.outputs]
            assert sizes == [each.shape for each in made_tensors]
            assert attributes["output_bytes"][3] == [sum(each.nbytes for each in made_tensors)]
            if operation.kernel:
                assert text(attributes["kernel"][2][0]) == operation.kernel
    (again,) = tmp_path.iterdir()
    assert again == path


def test_a_log_says_how_long_each_launch_took(tmp_path: Path) -> None:
    view = drawn("vgg16", *SMALL_VGG).graphs.after
    seconds = [1e-3 * (place + 1) for place in range(len(view.operations))]
    _, _, timed = events(write_graph(tmp_path, view, launch_seconds=seconds))
    tagged = inside(timed, 8)
    assert text(tagged[1][0]) == "step"
    device = inside(tagged, 2, 1, 1)
    assert text(device[1][0]).endswith("device:CPU:0")
    names = node_names(view)
    stats = [message(each) for each in device[2]]
    assert [text(each[1][0]) for each in stats] == [names[each.name] for each in view.operations]
    assert [each[5][0] for each in stats] == [1000 * (place + 1) for place in range(len(stats))]
    assert [each[2][0] for each in stats] == list(
        itertools.accumulate((each[5][0] for each in stats[:-1]), initial=0)
    )


def test_scalars_go_on_after_a_pause(tmp_path: Path) -> None:
    moments = iter(range(1, 100))
    for first in (1, 3):
        with ScalarLog(tmp_path, first, now=lambda: float(next(moments))) as log:
            for step in range(first, first + 2):
                log.write(step, {"loss/a": step / 2, "loss/b": -1.0})
    found = []
    for path in sorted(tmp_path.iterdir()):
        _, start, *rest = events(path)
        assert message(start[7][0]) == {1: [1]}
        for each in rest:
            values = [message(value) for value in inside(each, 5)[1]]
            found.append((each[2][0], {text(v[1][0]): v[2][0] for v in values}))
        assert start[2] == [rest[0][2][0]]
    assert found == [(step, {"loss/a": step / 2, "loss/b": -1.0}) for step in range(1, 5)]


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    for data in (b"", b"123456789", bytes(range(256))):
        masked = struct.pack("<I", event_file.checksum(data))
        assert event_file.record(data).endswith(masked)
        assert list(records(event_file.record(data))) == [data]


def test_a_flipped_bit_would_be_seen(tmp_path: Path) -> None:
    path = write_graph(tmp_path, drawn("xyz").graphs.after)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    with pytest.raises(AssertionError, match="checksum"):
        list(records(bytes(whole)))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**63 - 1])
def test_numbers_are_read_as_they_were_written(number: int) -> None:
    assert message(event_file.integer(3, number)) == {3: [number]}
