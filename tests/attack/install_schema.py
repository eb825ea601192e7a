"""An administrator installs pg_ltv into a schema in which alice may create, as everybody may in the schema public of databases that are older than
PostgreSQL 15. Functions and operators of hers that fit better than PostgreSQL's run neither then nor in what is left of the script."""

from tools.case import Case, Session

case = Case()
admin = case.admin
admin.run("CREATE DATABASE shop")
admin = Session(database="shop")
admin.run("CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO PUBLIC; CREATE SCHEMA alice AUTHORIZATION alice; GRANT USAGE ON SCHEMA alice TO PUBLIC")
alice = Session("alice", database="shop")
alice.run("CREATE FUNCTION alice.spy(what text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'spied \"%\" as current \"%\" session \"%\"', what, current_user, session_user; RETURN 0; END $$")

TYPES = ("text", "name", "int4", "int8", "oid", "regclass", "regrole", "jsonb", "bool", "float8", "numeric", "timestamptz", "interval", '"char"', "varchar")
made = 0
for count in range(1, 8):
    made += alice.try_(f"CREATE FUNCTION shared.format({', '.join(['text'] * count)}) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('format'); RETURN pg_catalog.format({', '.join(f'${n + 1}' for n in range(count))}); END $$").ok
for kind in TYPES[1:]:
    for count in range(1, 4):
        made += alice.try_(f"CREATE FUNCTION shared.format(text{f', {kind}' * count}) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('format'); RETURN pg_catalog.format($1{''.join(f', ${n + 2}' for n in range(count))}); END $$").ok
# For each function that the script calls with an argument that needs a cast, and each that takes any type.
FITTING = {"pg_get_userbyid": ("regrole", "name"), "pg_has_role": ("name, regrole, text", "bool"), "has_privilege": ("text, text", "bool"), "quote_ident": ("name", "text"), "pg_has_role ": ("regrole, text", "bool"),
           "concat_ws": ("text, text, text, text, text, text, text, text, text", "text"), "trim": ("text", "text"), "to_char": ("float8, text", "text"), "round": ("numeric, int4", "numeric"), "date_trunc": ("text, interval", "interval"),
           "to_jsonb": ("text", "jsonb"), "jsonb_typeof": ("jsonb", "text"), "translate": ("text, text, text", "text"), "octet_length": ("bytea", "int4"), "encode": ("bytea, text", "text"), "array_to_string": ("text[], text", "text"),
           "unnest": ("text[]", "text"), "pg_encoding_to_char": ("int4", "name"), "pg_char_to_encoding": ("name", "int4"), "getdatabaseencoding": ("", "name"), "concat": ("text, text", "text"), "count": ("text", "int8")}
for name, (arguments, result) in FITTING.items():
    made += alice.try_(f"CREATE FUNCTION shared.{name.strip()}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('{name.strip()}'); RETURN NULL; END $$").ok
for operator in ("=", "<>", "<", "<=", ">", ">=", "||", "+", "-", "~", "->", "->>", "#>>", "~~"):
    for left in TYPES:
        for right in TYPES:
            made += 1
            alice.try_(f"""CREATE FUNCTION shared.o{made}(a {left}, b {right}) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('operator {operator.replace("%", "%%")}'); RETURN false; END $$;
                CREATE OPERATOR shared.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = shared.o{made})""")
for statement in ("CREATE DOMAIN shared.text AS pg_catalog.text CHECK (alice.spy('text') = 0)", "CREATE DOMAIN shared.jsonb AS pg_catalog.jsonb CHECK (alice.spy('jsonb') = 0)", "CREATE VIEW shared.pg_class AS SELECT c.* FROM pg_catalog.pg_class c",
                  "CREATE VIEW shared.pg_roles AS SELECT c.* FROM pg_catalog.pg_roles c", "CREATE VIEW shared.pg_depend AS SELECT c.* FROM pg_catalog.pg_depend c"):
    alice.run(statement)
alice.run("GRANT ALL ON ALL TABLES IN SCHEMA shared TO PUBLIC")
case.check("alice's objects are there", made > 3000, made)
case.forget()

admin.run("CREATE EXTENSION pg_ltv SCHEMA shared")
case.only("nothing of alice's runs while the extension is installed", {"alice"})
HERS = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0)
FROM pg_depend d LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
LEFT JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
WHERE 'alice'::regrole IN (p.proowner, o.oprowner, c.relowner, t.typowner)
  AND EXISTS (SELECT FROM pg_depend e JOIN pg_extension x ON x.oid = e.refobjid AND x.extname = 'pg_ltv' WHERE e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e' AND ((e.classid, e.objid) = (d.classid, d.objid)
      OR d.classid = 'pg_rewrite'::regclass AND (e.classid, e.objid) = ('pg_class'::regclass, (SELECT r.ev_class FROM pg_rewrite r WHERE r.oid = d.objid))))
"""
hers = admin.run(HERS)
case.check("nothing of the extension is made of what is alice's", not hers, hers[:5])

admin.run("SET search_path = pg_catalog")
for view in [row[0] for row in admin.run("SELECT c.oid::regclass::text FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' WHERE c.relkind = 'v'")]:
    admin.run(f"SELECT * FROM {view}")
admin.run("CREATE TABLE public.customers AS SELECT i AS customer_id, (i % 17)::real AS a, (i % 3)::float8 AS ltv FROM generate_series(1, 300) i")
job = admin.value("SELECT shared.ltv_train('m', 'public.customers', options => '{\"epochs\": 1, \"ensemble\": 1}')")
admin.run("SELECT shared.ltv_wait(%s)", [job])
admin.run("SELECT count(*) FROM shared.ltv_segment('m', 'public.customers')")
admin.run("SELECT sum(shared.ltv_predict('m', to_json(c))), sum(shared.ltv_predict('m', 1, to_json(c)::text)) FROM public.customers c")
case.only("nor when it is used", {"alice"})
case.finish()
