"""`kobra` with a fault of choice: what it must not do on a lake.

claims      loads what another machine is loading
owners      builds where another home has erased persons
keeps       leaves older snapshots, and the files that they have, after an erasure
"""

import sys

from pipelines import cli
from pipelines.warehouse import lock, owner
from pipelines.warehouse.lake import Lake

match sys.argv.pop(1):
    case "claims":
        lock._is_taken = lambda *_: True
    case "owners":
        owner.check = lambda *_: None
    case "keeps":
        Lake.purge = lambda *_: None
sys.exit(cli.entry())
