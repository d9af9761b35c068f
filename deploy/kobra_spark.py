"""`kobra spark` for spark-submit: `spark-submit --master … deploy/kobra_spark.py run`."""

import sys

from pipelines.cli import main

sys.exit(main(["spark", *sys.argv[1:]]))
