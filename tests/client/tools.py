"""What the scenarios of clients share."""

import os
import shutil
import sys

import psycopg

URL = os.environ["PG_LTV_URL"]
ROOT = os.environ["PG_LTV_ROOT"]
SCORES = "SELECT customer_id, ltv_predict('cdnow', f) AS ltv FROM cdnow_features f ORDER BY customer_id"


def parts():
    """Host, port, user, password and database of the URL."""
    return psycopg.conninfo.conninfo_to_dict(URL)


def expected():
    """The scores as the server itself writes them down: no client has touched them."""
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS expected_scores AS {SCORES}")
        rows = connection.execute("SELECT customer_id, ltv::text FROM expected_scores ORDER BY customer_id")
        return [(customer, float(value)) for customer, value in rows]


def same(got, what):
    """To the last digit that a client of double precision can show; batches of another size may differ in the last bits."""
    wanted = expected()
    assert len(got) == len(wanted), f"{what}: {len(got)} rows, {len(wanted)} wanted"
    for (customer, value), (wanted_customer, wanted_value) in zip(got, wanted):
        assert customer == wanted_customer, f"{what}: {customer} in place of {wanted_customer}"
        assert abs(float(value) - wanted_value) <= 1e-6 * max(1.0, abs(wanted_value)), f"{what}: {customer} {value} {wanted_value}"
    print(f"ok {what}")


def need(program, package):
    """The path of a program; without it the scenario is skipped."""
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        skip(f"{program} is not installed (apt-get install {package})")
    return found


def need_file(path, package):
    if not os.path.exists(path):
        skip(f"{path} is not there (apt-get install {package})")
    return path


def skip(why):
    print(why)
    sys.exit(77)
