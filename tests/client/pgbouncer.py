# database: demo
"""pgbouncer in transaction mode: two server connections for many clients, prepared statements, a training, a campaign."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import psycopg
from tools import SCORES, need, parts, same

program = need("pgbouncer", "pgbouncer")
server = parts()
directory = pathlib.Path(tempfile.mkdtemp(prefix="pgbouncer."))
os.chmod(directory, 0o755)
port = int(os.environ.get("PG_LTV_FREE_PORT", "6543"))
(directory / "users.txt").write_text(f'"{server["user"]}" "{server["password"]}"\n')
(directory / "pgbouncer.ini").write_text(f"""
[databases]
ltv = host={server['host']} port={server['port']} dbname={server['dbname']}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {directory}/users.txt
pool_mode = transaction
default_pool_size = 2
logfile = {directory}/log
ignore_startup_parameters = extra_float_digits,options
""")
command = [program, str(directory / "pgbouncer.ini")]
if os.getuid() == 0:
    command[1:1] = ["-u", "nobody"]
    (directory / "log").touch(mode=0o666)
    os.chmod(directory / "log", 0o666)
pool = subprocess.Popen(command, stderr=subprocess.DEVNULL)
url = f"postgresql://{server['user']}:{server['password']}@127.0.0.1:{port}/ltv"


def connect():
    # Servers change between transactions, so a client must not count on statements that it prepared by name.
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


try:
    for attempt in range(50):
        try:
            connect().close()
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    with connect() as connection:
        same(connection.execute(SCORES).fetchall(), "plain")
        with connection.transaction(), connection.cursor("scores") as cursor:
            same(list(cursor.execute(SCORES)), "server-side cursor in a transaction")
        job = connection.execute("""SELECT ltv_train('pooled', 'cdnow_features', options => '{"epochs": 1, "ensemble": 1}')""").fetchone()[0]
        assert connection.execute("SELECT ltv_wait(%s::bigint, timeout => '5 minutes')", [job]).fetchone()[0] == 1
        connection.execute("""CALL ltv_train_now('pooled', 'cdnow_features', options => '{"epochs": 1, "ensemble": 1}')""")
        with connection.transaction():
            connection.execute("SET LOCAL ltv.default_model = 'pooled'")
            assert connection.execute("SELECT count(ltv_predict(f)) FROM cdnow_features f").fetchone()[0] > 0
        members = connection.execute("SELECT customers FROM ltv_create_campaign('pooled_campaign', 'pooled', 'cdnow_features') WHERE step = 'contact'")
        assert members.fetchone()[0] > 0
    print("ok training, SET LOCAL, campaign")

    def one(number):
        with connect() as connection:
            processes = set()
            for _ in range(5):
                pid, _ = connection.execute("SELECT pg_backend_pid(), sum(ltv_predict('cdnow', f)) FROM cdnow_features f WHERE customer_id < '00100'").fetchone()
                processes.add(pid)
            return processes

    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        processes = set().union(*threads.map(one, range(24)))
    assert len(processes) <= 3, processes  # two of the pool, and one that may have been replaced
    print(f"ok 24 clients on {len(processes)} server connections")
finally:
    pool.kill()  # it inherits that the runner keeps other signals for itself
    pool.wait()
    shutil.rmtree(directory)
