"""What the attacks share: the roles, a spy that tells whose rights some code has, and the list of promises kept and broken.

alice attacks: an ordinary role with a schema of her own. bob is another user, the superuser is the administrator. The cluster is the
scenario's own; see xtask/src/attack.rs for what is in the environment.
"""

import os
import re
import subprocess
import sys
import time

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads

URL = conninfo_to_dict(os.environ["PG_LTV_URL"])
QUICK = '{"epochs": 1, "ensemble": 1}'
SUPERUSER = URL["user"]

# Documents may be too deep for Python.
set_json_loads(lambda text: text)

CUSTOMERS = """
CREATE TABLE {schema}.customers (customer_id int PRIMARY KEY, a real, b real, ltv float8);
INSERT INTO {schema}.customers SELECT i, i % 17, (i * 7) % 23, CASE WHEN i % 3 = 0 THEN 0 ELSE i % 17 + 1 END FROM generate_series(1, 400) i
"""
ORDERS = """
CREATE TABLE {schema}.orders (customer_id int, day date, amount numeric);
INSERT INTO {schema}.orders SELECT i % 60, DATE '2020-01-01' + i % 700, i % 13 + 1 FROM generate_series(1, 3000) i
"""
# Whoever runs it is written to the server's log, which no rollback takes back.
SPY = """
CREATE FUNCTION {schema}.spy(what text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RAISE LOG 'spied "%" as current "%" session "%"', what, current_user, session_user;
    RETURN 0;
END $$
"""


class Outcome:
    """Of a statement: rows, or what the error said."""

    def __init__(self, rows=None, error=None):
        self.rows = rows
        self.state = getattr(error, "sqlstate", None) or (type(error).__name__ if error else None)
        diagnostics = getattr(error, "diag", None)
        self.message = (diagnostics and diagnostics.message_primary) or (str(error) if error else None)
        self.detail = diagnostics and diagnostics.message_detail
        self.hint = diagnostics and diagnostics.message_hint
        self.context = diagnostics and diagnostics.context
        self.lost = isinstance(error, psycopg.OperationalError) and not getattr(error, "sqlstate", None)

    def __repr__(self):
        if self.state:
            return f"{self.state} {self.message}" + (f" ({self.detail})" if self.detail else "")
        return str(self.rows)[:300]

    @property
    def ok(self):
        return self.state is None

    @property
    def value(self):
        return self.rows[0][0] if self.rows else None


class Session:
    """A connection that commits each statement and remembers what it was told."""

    def __init__(self, role=SUPERUSER, database=None, **more):
        arguments = {**URL, **({"dbname": database} if database else {}), **more}
        if role != SUPERUSER:
            arguments.update(user=role, password=role)
        self.role = role
        self.arguments = arguments
        self.notices = []
        self.open()

    def open(self):
        self.connection = psycopg.connect(make_conninfo(**self.arguments), autocommit=True, prepare_threshold=None)
        self.connection.add_notice_handler(lambda notice: self.notices.append(notice.message_primary))

    def again(self):
        """A new connection, after the server has closed the last one; waits for a server that recovers."""
        end = time.time() + 60
        while True:
            try:
                return self.open()
            except psycopg.OperationalError:
                if time.time() > end:
                    raise
                time.sleep(0.3)

    def try_(self, statement, parameters=None):
        try:
            cursor = self.connection.execute(statement, parameters)
            return Outcome(cursor.fetchall() if cursor.description else [])
        except (psycopg.Error, UnicodeError, ValueError, OverflowError) as error:
            return Outcome(error=error)

    def run(self, statement, parameters=None):
        """Rows of a statement that has to work."""
        outcome = self.try_(statement, parameters)
        if not outcome.ok:
            raise RuntimeError(f"{self.role}: {outcome}\n{statement[:2000]}")
        return outcome.rows

    def value(self, statement, parameters=None):
        return self.run(statement, parameters)[0][0]

    def timed(self, statement, parameters=None):
        started = time.time()
        outcome = self.try_(statement, parameters)
        return outcome, time.time() - started

    @property
    def pid(self):
        return self.connection.info.backend_pid

    @property
    def closed(self):
        """Also after the server has ended it with an error of its own, as for an operator that does not stop (57014)."""
        return self.connection.closed

    def close(self):
        self.connection.close()

    # What a user does ------------------------------------------------------------------------------------------------

    def train(self, model, relation=None, options=QUICK, **more):
        """Queues a training; returns the job."""
        arguments = {"model": model, "relation": relation, "options": options, **more}
        given = {name: value for name, value in arguments.items() if value is not None}
        text = ", ".join(f"{name} => %({name})s" + ("::jsonb" if name == "options" else "") for name in given)
        return self.value(f"SELECT ltv_train({text})", given)

    def trained(self, model, relation=None, **more):
        """Trains and waits; returns the version."""
        return self.value("SELECT ltv_wait(%s)", [self.train(model, relation, **more)])

    def status(self, job):
        return self.value("SELECT status FROM ltv_jobs WHERE job = %s", [job])

    def ended(self, job, seconds=60):
        """How a job ended, or what it is after so many seconds."""
        return until(lambda: (lambda now: now if now not in ("queued", "running") else None)(self.status(job)), seconds) or self.status(job)


class Case:
    def __init__(self):
        self.admin = Session()
        self.broken = []
        self.read = 0
        self.spies = set()
        self.alice = self.role("alice")
        self.bob = self.role("bob")

    def role(self, name):
        """A new role with a schema of its own, connected."""
        self.admin.run(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        self.admin.run(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
        return Session(name)

    def customers(self, *sessions):
        for session in sessions:
            schema = "public" if session is self.admin else session.role
            session.run(CUSTOMERS.format(schema=schema))
            session.run(ORDERS.format(schema=schema))
            session.run(SPY.format(schema=schema))
            if session is not self.admin:
                session.run(f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC")

    @property
    def major(self):
        return self.admin.connection.info.server_version // 10000

    def check(self, promise, kept, seen=""):
        said = f"{promise}{f': {seen}' if seen not in ('', None) else ''}"
        print(f"{'kept' if kept else 'BROKEN':6} {said}", flush=True)
        if not kept:
            self.broken.append(said)
        return kept

    def refused(self, promise, session, statement, states=("42501",), parameters=None):
        outcome = session.try_(statement, parameters)
        return self.check(promise, outcome.state in states, outcome)

    def spied(self, what=".*"):
        """{(tag, current user, session user)} of every spy whose tag is like that, since the last time they were forgotten."""
        with open(os.environ["PG_LTV_LOG"], encoding="utf-8", errors="replace") as log:
            log.seek(self.read)
            text = log.read()
            self.read = log.tell()
        self.spies |= set(re.findall(r'spied "(.*)" as current "([^"]*)" session "([^"]*)"', text))
        return {spy for spy in self.spies if re.fullmatch(what, spy[0])}

    def forget(self):
        self.spied()
        self.spies = set()

    def only(self, promise, allowed, what=".*", needed=False):
        """Every spy ran as one of these roles, and as nobody else underneath. needed: and some spy did run."""
        found = self.spied(what)
        others = sorted(spy for spy in found if not {spy[1], spy[2]} <= set(allowed))
        missing = needed and not found
        return self.check(promise, not others and not missing, others or ("no spy ran, so this shows nothing" if missing else f"{len(found)} kinds of spies"))

    def finish(self):
        if self.broken:
            print(f"\n{len(self.broken)} promises broken:")
            for promise in self.broken:
                print(f"  {promise}")
        sys.exit(bool(self.broken))


def until(condition, seconds=20, every=0.1):
    end = time.time() + seconds
    while time.time() < end:
        found = condition()
        if found:
            return found
        time.sleep(every)
    return condition()


def control(*arguments):
    """pg_ctl on the cluster."""
    account = os.environ.get("PG_LTV_ACCOUNT")
    command = [os.environ["PG_LTV_PG_CTL"], "--pgdata", os.environ["PG_LTV_DATA"], "--wait", "--silent", "--timeout=60", *arguments]
    if arguments[0] != "stop":
        command += ["--log", os.environ["PG_LTV_LOG"]]
    return subprocess.run(command, cwd="/", user=account, group=account, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def postmaster():
    with open(os.path.join(os.environ["PG_LTV_DATA"], "postmaster.pid"), encoding="utf-8") as file:
        return int(file.readline())
