"""Figures published by others, with their source: shown beside measurements, never mixed in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = "benchctl.published/1"


class PublishedError(Exception):
    """The published figures are missing or do not follow the schema."""


@dataclass(frozen=True, slots=True)
class PublishedGradient:
    """One cold run of the gradient slide; `counterpart` is the engine here that it stands for."""

    name: str
    counterpart: str
    device: str
    seconds: float
    timed_region: str


@dataclass(frozen=True, slots=True)
class PublishedVgg:
    """One row of the VGG16 slide; an empty `counterpart` means a row for every engine."""

    name: str
    layout: str
    head: str
    counterpart: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a group of figures comes from, and how they were taken there."""

    title: str
    source: str
    year: int
    machine: str
    method: str


@dataclass(frozen=True, slots=True)
class Published:
    """Everything in results/published/slides.json."""

    gradient_provenance: Provenance
    gradient_size: str
    gradient: tuple[PublishedGradient, ...]
    vgg16_provenance: Provenance
    vgg16_batch: int
    vgg16_image_size: int
    vgg16: tuple[PublishedVgg, ...]


def published_path() -> Path:
    """The file in a source checkout, or else the copy that the wheel carries."""
    here = Path(__file__).resolve().parent
    checkout = here.parents[1] / "results" / "published" / "slides.json"
    return checkout if checkout.is_file() else here / "published.json"


def load_published(path: Path | None = None) -> Published:
    """Read the published figures; raises `PublishedError` naming the file."""
    path = path or published_path()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _published(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishedError(
            f"{path}: expected published figures ({SCHEMA}), received {error!r}; "
            "reinstall benchctl or restore the file"
        ) from error


def _published(document: Mapping[str, Any]) -> Published:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']!r}")
    gradient, vgg16 = document["gradient"], document["vgg16"]
    return Published(
        gradient_provenance=_provenance(gradient),
        gradient_size=str(gradient["size"]),
        gradient=tuple(PublishedGradient(**each) for each in gradient["figures"]),
        vgg16_provenance=_provenance(vgg16),
        vgg16_batch=int(vgg16["batch"]),
        vgg16_image_size=int(vgg16["image_size"]),
        vgg16=tuple(PublishedVgg(**each) for each in vgg16["figures"]),
    )


def _provenance(group: Mapping[str, Any]) -> Provenance:
    return Provenance(
        title=str(group["title"]),
        source=str(group["source"]),
        year=int(group["year"]),
        machine=str(group["machine"]),
        method=str(group["method"]),
    )
