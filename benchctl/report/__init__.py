"""Rendering: text, Markdown, JSON, charts, HTML. Rendering never computes."""
