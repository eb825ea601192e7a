# database: demo
"""psycopg: plain, binary, prepared, server-side cursors, pipelines, COPY, asynchronous; errors keep their SQLSTATE."""

import asyncio

import psycopg
from psycopg.types.json import Jsonb
from tools import SCORES, URL, same

with psycopg.connect(URL, autocommit=True) as connection:
    same(connection.execute(SCORES).fetchall(), "plain")
    same(connection.execute(SCORES, binary=True).fetchall(), "binary")
    same(connection.execute(SCORES, prepare=True).fetchall(), "prepared")
    with connection.transaction(), connection.cursor("scores") as cursor:
        cursor.itersize = 1000
        same(list(cursor.execute(SCORES)), "server-side cursor")
    with connection.cursor().copy(f"COPY ({SCORES}) TO STDOUT") as copy:
        copy.set_types(["text", "float8"])
        same(list(copy.rows()), "COPY")
    with connection.pipeline():
        cursors = [connection.execute("SELECT round(sum(ltv_predict('cdnow', f))) FROM cdnow_features f") for _ in range(3)]
    assert len({cursor.fetchone()[0] for cursor in cursors}) == 1

    # One customer by parameters: a row as jsonb, as an array, as text.
    row, array, wanted = connection.execute(
        "SELECT to_jsonb(f), (SELECT array_agg((to_jsonb(f) ->> i.feature)::float8 ORDER BY i.o)"
        " FROM ltv_feature_info('cdnow') WITH ORDINALITY AS i(feature, k, t, n, m, a, s, lo, hi, q, c, o)),"
        " ltv_predict('cdnow', f) FROM cdnow_features f LIMIT 1").fetchone()
    for value in (Jsonb(row), array, psycopg.types.json.json.dumps(row)):
        got = connection.execute("SELECT ltv_predict('cdnow', %s)", [value]).fetchone()[0]
        assert abs(got - wanted) <= 1e-5 * max(1, abs(wanted)), (value, got, wanted)

    for statement, state in (("SELECT ltv_predict('no', '{}')", "42704"), ("SELECT * FROM ltv_evaluate('cdnow', 'SELECT 1 FORM t')", "42601")):
        try:
            connection.execute(statement)
            raise AssertionError(statement)
        except psycopg.Error as error:
            assert error.sqlstate == state and "ltv." not in str(error), error

    job = connection.execute("SELECT ltv_train('psycopg', 'cdnow_features', options => %s)", [Jsonb({"epochs": 1, "ensemble": 1})]).fetchone()[0]
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert connection.execute("SELECT ltv_wait(%s::bigint)", [job]).fetchone()[0] == 1
    assert connection.execute("SELECT ltv_wait('psycopg', timeout => %s)", ["1 minute"]).fetchone()[0] == 1
print("ok parameters, errors, jobs")


async def many():
    async def one():
        async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
            return (await (await connection.execute("SELECT count(ltv_predict('cdnow', f)) FROM cdnow_features f")).fetchone())[0]
    counts = await asyncio.gather(*(one() for _ in range(4)))
    assert len(set(counts)) == 1, counts

asyncio.run(many())
print("ok asynchronous")
