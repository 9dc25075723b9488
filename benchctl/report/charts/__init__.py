"""Charts of a report, one file each: `draw` turns a view into a `Chart` or says what lacks."""
