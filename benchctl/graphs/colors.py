"""Fill and outline of a box by its kind, on light paper.

Hues of Okabe and Ito (2008), as in the charts of the report; fills so pale that text stands out.
"""

from __future__ import annotations

COLORS = {
    "input": ("#f4f5f6", "#80858b"),
    "output": ("#f4f5f6", "#80858b"),
    "forward": ("#eaf3f9", "#0072b2"),
    "backward": ("#fcefe6", "#d55e00"),
    "update": ("#e6f4ef", "#008a65"),
}
