"""Statistics on plain numbers: no units, no strings, no input or output."""
