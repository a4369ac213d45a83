"""The recordings in the store that the replicas share."""

import json

from tests.containers.engine import inside

FOLDER = "/recordings/audio"
MANIFESTS = """
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("*.json"):
    print(json.dumps(json.loads(path.read_text())))
"""


def manifests(receiver):
    """Return the manifest of each recording, read in the container of a receiver."""
    lines = inside(receiver, "python", "-c", MANIFESTS, FOLDER).splitlines()
    return [json.loads(line) for line in lines]
