"""The GPU as a device: arrays, memory, streams, modules and libraries behind one interface."""
