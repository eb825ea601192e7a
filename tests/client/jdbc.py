# database: demo
"""JDBC (Java 17, Debian's driver): plain, prepared, with a cursor; Jdbc.java does it."""

import pathlib
import subprocess

from tools import need, need_file, parts, same

java = need("java", "openjdk-17-jdk-headless")
driver = need_file("/usr/share/java/postgresql.jar", "libpostgresql-jdbc-java")
server = parts()
url = f"jdbc:postgresql://{server['host']}:{server['port']}/{server['dbname']}"
source = pathlib.Path(__file__).with_name("Jdbc.java")
printed = subprocess.run([java, "-cp", driver, str(source), url, server["user"], server["password"]], check=True, capture_output=True, text=True)
same([tuple(line.split()) for line in printed.stdout.splitlines()], "plain, prepared, jsonb, error, training, cursor")
