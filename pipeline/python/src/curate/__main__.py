"""`python -m curate`: the program itself, for an environment whose scripts are not in PATH."""

import os
import sys

from ._program import CurateError, binary

try:
    program = binary()
except CurateError as error:
    sys.exit(f"curate: {error}")
os.execv(program, [program, *sys.argv[1:]])
