"""From the raw store to tables that people query."""

import os

# numpy comes with pyarrow, and OpenBLAS with numpy: its threads would wait, spinning, for work that nobody has.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
