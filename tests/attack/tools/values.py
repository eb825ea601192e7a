"""Nasty values for the arguments of functions, as SQL expressions."""

from tools import graphs


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def deep(levels):
    return "[" * levels + "]" * levels


OWN = "SELECT customer_id, a, b, ltv FROM alice.customers"
TEXTS = [literal(text) for text in (
    # what means something
    "m", "m", "m", "m", "featured", "sequences", "imported", "alice.customers", "alice.customers", "alice.features", "alice.orders", "alice.odd", "customer_id", "ltv", "a", "b", "day", "at", "amount", "ziln", "mse", "cmltv", "bgnbd", "auto", "mlp", "lstm",
    "champion", "challenger", "if_better", "always", "never", "normalized_gini", "mae", "predict", "read", "owner", "all", "public", "alice", "bob", "retrain", "monitor", "* * * * *", "0 3 * * 1", "month", "UTC", "Mars/Olympus", "Europe/Berlin",
    "30 days", "90", "1 mon -1 day", "1000 years", "-5", "0", "2020-06-01", "2020-02-30", "infinity", "-infinity", "now", "epoch", "0044-03-15 BC", "294276-12-31", "{2020-06-01,2021-01-01}", "{{2020-06-01},{2020-07-01}}", "[3:3]={2020-06-01}",
    OWN, OWN, "TABLE alice.customers", "TABLE alice.odd", "VALUES (1)", "VALUES (1, 2, 3, 4)", "SELECT", "SELECT 1", f"{OWN} WHERE false", f"{OWN} LIMIT 1", f"{OWN};", f"{OWN}; DELETE FROM alice.customers", f"{OWN} -- x", f"{OWN} /* x",
    "SELECT 1 AS a, 2 AS a", "SELECT NULL AS ltv, NULL AS a, NULL AS b, NULL AS customer_id", "SELECT customer_id, a / 0 AS a, b, ltv FROM alice.customers", "SELECT (1, 2) AS a, 1 AS b, 1 AS customer_id, 1 AS ltv", "SELECT c AS a, c AS b FROM alice.customers c",
    "SELECT ARRAY[[1,2],[3,4]] AS a, 'NaN'::numeric AS b, 1 AS ltv, 1 AS customer_id", "SELECT '1e400'::numeric AS a, '-1e400'::numeric AS b, i AS customer_id, '1e400'::numeric AS ltv FROM generate_series(1, 50) i",
    "SELECT i AS customer_id, 'infinity'::float8 AS a, '-infinity'::float8 AS b, 'NaN'::float8 AS ltv FROM generate_series(1, 50) i", "SELECT 'x' AS a, 'y' AS b, 'z' AS ltv, 1 AS customer_id", "SELECT i AS customer_id, i AS a, i AS b, -i AS ltv FROM generate_series(1, 300) i",
    "SELECT i AS customer_id, 1 AS a, 1 AS b, 1 AS ltv FROM generate_series(1, 300) i", "SELECT 1 AS customer_id, 1 AS a, 1 AS b, 1 AS ltv FROM generate_series(1, 300) i", "SELECT NULL::text AS customer_id, i AS a, i AS b, i AS ltv FROM generate_series(1, 90) i",
    "SELECT i AS customer_id, repeat('x', 100000) AS a, i AS b, i AS ltv FROM generate_series(1, 5) i", "WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (DELETE FROM alice.customers RETURNING *) SELECT * FROM x", "DELETE FROM alice.customers", "DROP TABLE alice.customers",
    "SELECT pg_sleep(20), 1 AS customer_id, 1 AS a, 1 AS b, 1 AS ltv", "SELECT g AS customer_id, 1 AS a, 1 AS b, 1 AS ltv FROM generate_series(1, 100000000) g", "SELECT ltv_predict('m', c) AS a, b, customer_id, ltv FROM alice.customers c",
    "SELECT i AS customer_id, DATE '2020-01-01' AS day, '1e300'::numeric AS amount FROM generate_series(1, 50) i", "SELECT i AS customer_id, 'infinity'::date AS day, i AS amount FROM generate_series(1, 50) i", "SELECT * FROM alice.orders", "SELECT * FROM nowhere",
    # what means nothing
    "none", "", " ", "x" * 63, "x" * 64, "x" * 201, "é" * 120, "y" * 20000, "'; DROP TABLE alice.customers; --", '"', '""', "\\", "%s%n%L%I%%", "a.b.c.d", '"a', "alice.none", "pg_class", "ltv.models", "information_schema.columns", "\x01\x7f", "\t\n", "null", "true", "🙂",
    "\u202e", "a\u0301", "{}", "{1,2}", "{a,b}", "{NULL}", "1e400", "NaN", "-0", "1" * 400, "0x10", "1_000", "$1", "$$", "/*", "--", "(", ")", "((", "e" * 70000)]
JSONS = [f"'{text}'::jsonb" for text in (
    "{}", "[]", "null", "1", '"x"', "true", '{"a": 1e400}', '{"a": -1e400, "b": null}', '{"a": 1e-400}', '{"a": ' + deep(120) + "}", deep(3000), '{"a":' * 2000 + "1" + "}" * 2000, '{"": ""}', '{"a": 1, "b": 2}', '{"a": "x", "b": [1]}', '{"a": true, "b": {}}',
    '{"a": "1e400", "b": "NaN"}', '{"a": "infinity", "b": " 5 "}', "[1, 2]", "[1, null]", "[[1], 2]", '["\\u00fc", 1e308]', '{"a": "\\u0001"}', '{"s": [[1, 2], [3, 4]], "a": 1}', '{"s": [[1], [3, 4]]}', '{"s": [1, 2, 3]}', '{"s": []}', '{"s": [[]]}', '{"s": {"a": [1, 2]}}',
    '{"epochs": 1, "ensemble": 1}', '{"epochs": 1, "ensemble": 1}', '{"epochs": -1}', '{"epochs": 1.5}', '{"epochs": null}', '{"epochs": "1"}', '{"epochs": 1e30}', '{"hidden_sizes": []}', '{"hidden_sizes": [65536, 65536, 65536], "epochs": 1}', '{"hidden_sizes": [-1]}', '{"hidden_sizes": [1e30]}',
    '{"seed": 1e300}', '{"seed": 9007199254740993}', '{"threads": 256, "epochs": 1}', '{"device": "cuda:7"}', '{"validation_share": 0.9, "epochs": 1}', '{"max_seconds": 0.1}', '{"categorical": ["none"]}', '{"log_columns": ["a", "a"]}', '{"calibration": "curve", "epochs": 1}', '{"nosuch": 1}',
    '{"batch_size": 1048576, "epochs": 1}', '{"views": []}', '{"view_weights": [0, 0, 0]}', '{"horizon": 0.01}', '{"promote": "x", "minimum_gain": "NaN"}', '{"minimum_gain": 1e400}', '{"promote": "if_better", "metric": "mae", "minimum_gain": 0}', '{"held_out": 2}',
    '{"ltv": "ltv"}', '{"ltv": 5}', '{"recency": 0.1}', '{"a": 0.1, "ltv": -5}', '{"a": "0.1"}', '{"*": 0.1}', '{"inputs": [{"name": "a", "kind": "vector", "len": 3}], "outputs": ["ltv"]}', '{"inputs": [{"name": "x", "kind": "vector", "len": 18446744073709551615}], "outputs": ["ltv"]}',
    '{"inputs": [], "outputs": []}', '{"inputs": {}, "outputs": 5}', '[{"name": "a", "kind": "numeric", "n": 5}]', '[{"name": null}]', '[{"name": "a", "kind": "categorical", "values": [], "counts": []}]', '[{"feature": "a"}, 5, null, []]',
    '{"unit": "day", "as_of": ["2020-01-01"], "horizon": "30 days", "time_zone": "UTC"}', '{"unit": "instant", "as_of": ["infinity"], "horizon": "1 mon", "time_zone": "UTC"}', '{"unit": "day", "as_of": {}, "horizon": 5, "time_zone": 7}',
    '{"relation": "alice.customers", "target": "ltv", "options": {}}', '{"query": "SELECT * FROM alice.customers", "target": "ltv", "id_column": "customer_id", "options": {"epochs": 1}}', '{"query": "SELECT 1; SELECT 2", "target": null}', '{"query": 5, "relation": [], "target": {}}',
    '{"promote": "never", "query": "SELECT 1"}', '{"version": "x"}', '{"model": "n"}', '{"visits": {"source": "alice.orders", "customer_id_column": "customer_id", "date_column": "day"}}', '{"visits": {"source": 5}}', '{"step": "1 day", "steps": 30}', '{"step": "-1 day", "steps": 1e9}')] + [
    "(SELECT jsonb_object_agg('k' || i, i) FROM generate_series(1, 20000) i)", "(SELECT jsonb_agg(i) FROM generate_series(1, 100000) i)", "(SELECT jsonb_build_object('a', repeat('x', 1000000)))", "(SELECT jsonb_agg(jsonb_build_object('name', 'a' || i, 'kind', 'numeric')) FROM generate_series(1, 3000) i)",
    "(SELECT to_jsonb(c) FROM alice.customers c LIMIT 1)", "(SELECT to_jsonb(c) FROM alice.features c LIMIT 1)", "(SELECT to_jsonb(c) FROM alice.odd c LIMIT 1)", "NULL::jsonb"]
ARRAYS = ["'{}'::real[]", "ARRAY[1, 2]", "ARRAY[1, 2]::real[]", "ARRAY[1, NULL]::real[]", "ARRAY[1.5, 'NaN']::float8[]", "ARRAY['infinity', '-infinity']::float8[]", "ARRAY[1e308, -1e308]::float8[]", "ARRAY['1e400', 'NaN']::numeric[]", "ARRAY['infinity', '-infinity']::numeric[]", "ARRAY['x', 'y']",
          "ARRAY[ARRAY[1, 2], ARRAY[3, 4]]", "'[5:6]={1,2}'::int[]", "'[-2147483648:-2147483647]={1,2}'::int[]", "'[0:1][2:3]={{1,2},{3,4}}'::real[]", "ARRAY['1', '2']::money[]", "ARRAY[true, false]", "ARRAY['infinity', '-infinity']::date[]", "ARRAY['0044-03-15 BC', 'epoch']::timestamptz[]",
          "ARRAY['1 day', '-1 mon']::interval[]", "ARRAY[ROW(1, 'x')::alice.pair]", "ARRAY['a', 'b']::\"char\"[]", "ARRAY[1, 2]::oid[]", "ARRAY['{}', '1']::jsonb[]", "ARRAY['[1,2]']::int4range[]", "NULL::real[]", "(SELECT array_agg(i) FROM generate_series(1, 1000000) i)",
          "ARRAY['sad', 'ok']::alice.mood[]", "ARRAY[1, 2]::alice.positive[]", "ARRAY['1.1.1.1', '::1']::inet[]", "ARRAY[B'1', B'0']", "ARRAY['\\x00', '\\xff']::bytea[]", "ARRAY['m', 'n']::name[]", "ARRAY[9223372036854775807, -9223372036854775808]::int8[]", "ARRAY[32767, -32768]::int2[]",
          "ARRAY[NULL, NULL]::text[]", "ARRAY[gen_random_uuid(), NULL]", "'{{{{{{1}}}}}}'::int[]", "ARRAY[5e-324, '-0']::float8[]", "ARRAY[1e38, 3e38]::real[]", "(SELECT ARRAY[a, b] FROM alice.customers LIMIT 1)"]
VALUES = ["1", "NULL", "'x'", "'NaN'::float8", "'-infinity'::float8", "1e400::numeric", "'NaN'::numeric", "'infinity'::numeric", "'infinity'::date", "'0044-03-15 BC'::date", "'294276-12-31'::timestamptz", "'1 mon'::interval", "'178000000 years'::interval", "'$5.00'::money", "'1.2.3.4'::inet",
          "ROW(1, 'x')::alice.pair", "5::alice.positive", "ARRAY['a']::alice.words", "'sad'::alice.mood", "ROW(ROW(1, 'x'), NULL)::alice.nested", "ARRAY[1, 2]", "'{}'::jsonb", "'{\"a\": 1e400}'::jsonb", "'[1,3)'::int4range", "B'101'", "gen_random_uuid()", "'a'::\"char\"", "true", "1::oid", "'\\x00'::bytea",
          "repeat('x', 100000)", "'<a/>'::xml", "'a'::tsvector", "'(1,2)'::point", "'12:00'::time", "'12:00+02'::timetz", "'{}'::float8[]", "ARRAY[ARRAY[1, NULL]]::real[]", "'pg_class'::regclass", "'abc'::char(10)", "'abc'::name", "9223372036854775807", "'-0'::float8", "5e-324", "(1, 2)", "'1'::xid8",
          "'1:2:3'::txid_snapshot", "''", "'e\\u0301'", "1e308", "-1e308", "3.4e38::real", "'1e-45'::real", "(SELECT c FROM alice.customers c LIMIT 1)", "'{{1,2},{3,4}}'::real[]", "'12345678901234567890'", "' 5 '", "'0/0'::pg_lsn", "'1'::json"]
NUMBERS = ["0", "1", "-1", "0.5", "0.2", "0.999999", "'NaN'", "'infinity'", "'-infinity'", "1e308", "-1e308", "5e-324", "'-0'", "NULL", "30", "365", "1e9"]
INTEGERS = ["0", "1", "1", "2", "3", "-1", "7", "100", "1000", "32767", "-32768", "NULL"]


class Values:
    def __init__(self, random, honest):
        self.random = random
        self.honest = honest

    def of(self, kind, argument=""):
        """An expression for an argument of this type."""
        r = self.random
        if kind in ("record", '"any"', "anyelement", "anynonarray"):
            return self.record()
        if kind == "anyarray":
            return r.choice(ARRAYS)
        if r.random() < 0.05:
            return f"NULL::{kind}"
        if argument == "model" and r.random() < 0.7:
            return r.choice(("'m'", "'m'", "'featured'", "'sequences'", "'imported'", "'scratch'"))
        if argument == "version" and r.random() < 0.6:
            return r.choice(("1", "NULL::int"))
        return f"({self.raw(kind)})::{kind}"

    def raw(self, kind):
        r = self.random
        if kind.endswith("[]"):
            return self.array(kind[:-2])
        if kind == "jsonb":
            return r.choice(JSONS)
        if kind == "bytea":
            return self.bytes()
        if kind in ("smallint", "integer", "bigint"):
            return r.choice(INTEGERS + (["2147483647", "-2147483648"] if kind != "smallint" else []) + (["9223372036854775807", "-9223372036854775808"] if kind == "bigint" else []))
        if kind in ("double precision", "real", "numeric"):
            return r.choice(NUMBERS) if kind != "real" else r.choice([n for n in NUMBERS if "308" not in n and "324" not in n])
        if kind == "boolean":
            return r.choice(("true", "false", "NULL"))
        if kind == "interval":
            return r.choice(("'1 day'", "'-1 mon'", "'178000000 years'", "'-178000000 years'", "'0'", "'1 us'", "'1 mon -30 days'", "'1e6 days'"))
        if kind in ("date", "timestamp without time zone", "timestamp with time zone"):
            return r.choice(("'infinity'", "'-infinity'", "'0044-03-15 BC'", "'4713-01-01 BC'", "'epoch'", "'2020-06-01'", "'now'", "'5874897-12-31'" if kind == "date" else "'294276-12-31 23:59:59.999999'"))
        if kind in ("regrole", "regclass", "regproc", "regtype", "oid"):
            return r.choice(("0", "10", "4294967295", "(SELECT oid FROM pg_roles WHERE rolname = 'bob')", "(SELECT oid FROM pg_roles WHERE rolname = current_user)", "(SELECT 'alice.customers'::regclass::oid)", "(SELECT 'alice.features'::regclass::oid)", "1259"))
        if kind == "name":
            return r.choice(("'alice'", "'bob'", "'none'", "''", "'public'"))
        if kind == '"char"':
            return r.choice(("'a'", "''"))
        if kind in ("xid8", "tid", "pg_lsn"):
            return {"xid8": "'1'", "tid": "'(0,1)'", "pg_lsn": "'0/0'"}[kind]
        if kind == "ltv.cutoffs" and r.random() < 0.4:
            return r.choice(("'infinity'::date", "'0044-03-15 BC'::date", "ARRAY['infinity', '-infinity']::timestamptz[]", "now()", "'{}'::date[]", "ARRAY[NULL]::date[]", "'5874897-12-31'::date", "'294276-12-31 23:59:59.999999'::timestamp", "ARRAY[ARRAY['2020-01-01'::date]]",
                             "(SELECT array_agg(DATE '2020-01-01' + i) FROM generate_series(1, 300) i)", "'2020-06-01'::date", "ARRAY['2020-06-01', '2020-09-01']::date[]"))
        if kind == "ltv.horizon" and r.random() < 0.5:
            return r.choice(("90", "0", "-1", "2147483647", "9223372036854775807", "'1 mon'::interval", "'178000000 years'::interval", "'-178000000 years'::interval", "'1 mon -31 days'::interval", "32767::smallint", "'1 us'::interval"))
        if kind == "ltv.channels" and r.random() < 0.5:
            return r.choice(("true", "false", "ARRAY['amount']", "'{}'::text[]", "ARRAY[NULL]::text[]", "ARRAY['amount', 'amount']", "ARRAY['none']"))
        return r.choice(TEXTS)

    def array(self, kind):
        r = self.random
        if kind == "text":
            return r.choice(("'{}'", "'{NULL}'", "'{a,b}'", "'{a}'", "'{b,a}'", "'{{a,b},{c,d}}'", "'[5:6]={a,b}'", "'{a,a}'", "'{\"\"}'", "'{none}'", "'{ziln,mse}'", "'{mlp}'", "(SELECT array_agg('c' || i) FROM generate_series(1, 5000) i)", f"ARRAY[{self.raw('text')}, {self.raw('text')}]"))
        if kind == "jsonb":
            return r.choice(("'{}'", "ARRAY[NULL]", f"ARRAY[{self.raw('jsonb')}, {self.raw('jsonb')}]", "(SELECT array_agg(to_jsonb(c)) FROM alice.customers c)"))
        if kind in ("double precision", "real", "numeric"):
            return r.choice(("'{}'", "'{NULL}'", "'{NaN}'", "'{0.5,0.5}'", "'{1}'", "'{-1,2}'", "'{1e30,-1e30}'", "'{{0.5},{0.5}}'", "'[0:1]={0.5,0.5}'", "(SELECT array_agg(0.001) FROM generate_series(1, 1000))", "'{0.01,0.09,0.2,0.3,0.4}'"))
        if kind in ("integer", "oid", "bigint", "smallint"):
            return r.choice(("'{}'", "'{NULL}'", "'{7,30}'", "'{0}'", "'{1,7,30}'" if kind == "oid" else "'{-1}'", "'{32767}'", "'{{1},{2}}'", "'[-5:-4]={1,2}'", "(SELECT array_agg(i) FROM generate_series(1, 3000) i)"))
        return r.choice(("'{}'", "'{NULL}'"))

    def record(self):
        r = self.random
        kind = r.randrange(8)
        if kind == 0:
            return "ROW(" + ", ".join(r.choice(VALUES) for _ in range(r.randrange(0, 5))) + ")"
        if kind < 4:
            return r.choice(("(SELECT c FROM alice.customers c LIMIT 1)", "(SELECT o FROM alice.odd o LIMIT 1)", "(SELECT f FROM alice.features f LIMIT 1)", "(SELECT s FROM alice.sequences s LIMIT 1)", "NULL::alice.customers", "NULL::record", "(SELECT c FROM alice.dropped c LIMIT 1)",
                             "ROW(NULL, NULL, NULL, NULL)::alice.customers", "(SELECT w FROM alice.wide w LIMIT 1)"))
        columns = [f"{r.choice(VALUES)} AS {name}" for name in ("a", "b", "customer_id")] + r.choice(([], [f"{r.choice(VALUES)} AS s"], ["2 AS a"], ["1 AS ltv"]))
        return f"(SELECT q FROM (SELECT {', '.join(columns)}) q)"

    def bytes(self):
        r = self.random
        graph = bytearray(r.choice(self.honest))
        kind = r.randrange(9)
        if kind < 5:
            for _ in range(r.choice((1, 1, 3, 10))):
                place = r.randrange(len(graph))
                if kind == 0:
                    graph[place] = r.randrange(256)
                elif kind == 1:
                    del graph[place:place + r.randrange(1, 9)]
                elif kind == 2:
                    graph[place:place] = graphs.varint(r.choice((2**31, 2**32, 2**63, 2**64 - 1)))
                elif kind == 3:
                    graph[place] ^= 1 << r.randrange(8)
                else:
                    del graph[place:]
                graph = graph or bytearray(b"\0")
        elif kind == 5:
            return r.choice(("''", "'\\x00'", "sha512('x')", "convert_to(repeat('x', 1000000), 'UTF8')", "decode(repeat('00', 100000), 'hex')"))
        return f"'\\x{graph.hex()}'"
