"""The process that makes the calls: a Load on standard input, its Figures on standard output."""

import gc
import json
import sys
from dataclasses import asdict

from server.load import Load, LoadFailedError
from server.load.measuring import measure

if __name__ == "__main__":
    # Nothing here is made of cycles, and a pause for looking would be taken for one of the server's.
    gc.disable()
    try:
        figures = measure(Load(**json.loads(sys.stdin.readline())), parent=sys.stdin)
    except LoadFailedError as error:
        sys.exit(str(error))
    json.dump(asdict(figures), sys.stdout)
