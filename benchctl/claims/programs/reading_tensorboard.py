"""What TensorBoard reads of a folder of logs: names of nodes, and scalars by name, as JSON."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef

log = EventAccumulator(sys.argv[1])
log.Reload()
graph = log.Graph()
assert isinstance(graph, GraphDef)
scalars = {name: [event.value for event in log.Scalars(name)] for name in log.Tags()["scalars"]}
print(json.dumps({"nodes": [node.name for node in graph.node], "scalars": scalars}))
