# database: demo
"""postgres_fdw, both ways: orders that lie on another server become features here, and scores of here are read from there."""

import psycopg
from tools import URL, parts, same

server = parts()
there = URL.rsplit("/", 1)[0] + f"/{server['dbname']}_hosted"
with psycopg.connect(URL, autocommit=True) as here:
    here.execute(f"CREATE DATABASE {server['dbname']}_hosted")  # without the extension, as a hosted server is
link = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '{port}', dbname '{dbname}', fetch_size '10000');
CREATE USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (user '{user}', password '{password}');
"""
with psycopg.connect(URL, autocommit=True) as here, psycopg.connect(there, autocommit=True) as hosted:
    hosted.execute("CREATE TABLE orders (customer_id text, ordered_at date, amount numeric, cds int)")
    with here.cursor().copy("COPY (SELECT customer_id, ordered_at, amount, cds FROM orders) TO STDOUT") as source, \
            hosted.cursor().copy("COPY orders FROM STDIN") as target:
        for rows in source:
            target.write(rows)

    here.execute(link.format(**{**server, "dbname": f"{server['dbname']}_hosted"}))
    here.execute("CREATE SCHEMA hosted; IMPORT FOREIGN SCHEMA public LIMIT TO (orders) FROM SERVER other INTO hosted")
    for features, orders in (("from_here", "orders"), ("from_there", "hosted.orders")):
        here.execute("SELECT ltv_create_features(%s, %s, date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273)",
                     [features, orders])
    columns = "customer_id, recency, frequency, t, monetary_mean, count_90, sum_90, ltv"
    left = here.execute(f"SELECT count(*) FROM (SELECT {columns} FROM from_here EXCEPT SELECT {columns} FROM from_there) d").fetchone()[0]
    assert left == 0, f"{left} customers have other features"
    print("ok features of foreign orders")

    # The other way round: a view that scores, seen from a server without the extension.
    here.execute("CREATE VIEW scores AS SELECT customer_id, ltv_predict('cdnow', f) AS ltv FROM cdnow_features f")
    hosted.execute(link.format(**server))
    hosted.execute("IMPORT FOREIGN SCHEMA public LIMIT TO (scores) FROM SERVER other INTO public")
    same(hosted.execute("SELECT customer_id, ltv FROM scores ORDER BY customer_id COLLATE \"C\"").fetchall(), "scores seen from there")
    plan = "\n".join(row[0] for row in hosted.execute("EXPLAIN (VERBOSE, COSTS OFF) SELECT sum(ltv) FROM scores WHERE ltv > 100"))
    assert "Relations: Aggregate on" in plan and "ltv > 100" in plan, plan
    print("ok sums and conditions are pushed down")
with psycopg.connect(URL, autocommit=True) as here:
    here.execute(f"DROP DATABASE {server['dbname']}_hosted WITH (FORCE)")
