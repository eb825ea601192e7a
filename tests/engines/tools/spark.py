"""A Spark of one machine, for the tests."""

import contextlib
import os
import shutil
import sys

from pyspark.sql import SparkSession


def needed():
    """Without Java the test is left out."""
    if shutil.which("java") is None:
        print("java is not installed (apt-get install openjdk-17-jre-headless)")
        sys.exit(77)


@contextlib.contextmanager
def session(directory, settings={}):
    needed()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("pg_ltv")
    for name, value in {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
                        "spark.sql.warehouse.dir": f"{directory}/warehouse", "spark.driver.extraJavaOptions": f"-Dderby.system.home={directory}", **settings}.items():
        builder = builder.config(name, value)
    engine = builder.getOrCreate()
    engine.sparkContext.setLogLevel("ERROR")
    try:
        yield engine
    finally:
        engine.stop()
