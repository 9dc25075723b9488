"""Adapters to real frameworks, each written as its expert would write the step."""
