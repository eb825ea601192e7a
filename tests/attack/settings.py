"""Settings: what runs code in the server or takes from others is the administrator's, and what a user may set has a ceiling."""

import psycopg

from tools import graphs
from tools.case import Case, Session

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
alice.run("SELECT ltv_import_onnx('own', %s)", [graphs.linear(1, 0)])
admin.run("SELECT ltv_predict('own', ARRAY[1])")
settings = admin.run("SELECT name, context, vartype, min_val, max_val, setting FROM pg_settings WHERE name LIKE 'ltv.%' ORDER BY 1")
case.check("the settings are known", len(settings) > 5, [s[0] for s in settings])
for name, context, kind, low, high, now in settings:
    administrators = any(part in name for part in ("library", "max_", "maximum", "allow", "limit"))
    values = {"string": ("/nowhere/evil.so", "x" * 100000, "é", "'; DROP"), "integer": (low, high, "999999999999", "-1", "x"), "real": (low, high, "1e308", "NaN", "x"), "bool": ("on", "off"), "enum": ("x",)}[kind]
    for value in values:
        text = value.replace("'", "''")
        for statement in (f"SET {name} = '{text}'", f"SELECT set_config('{name}', '{text}', false)", f"ALTER ROLE alice SET {name} = '{text}'", f"ALTER ROLE alice IN DATABASE ltv SET {name} = '{text}'",
                          f"CREATE FUNCTION alice.f() RETURNS int LANGUAGE sql SET {name} = '{text}' AS 'SELECT 1'", f"ALTER SYSTEM SET {name} = '{text}'", f"ALTER DATABASE ltv SET {name} = '{text}'"):
            outcome = alice.try_(statement)
            if outcome.lost or (outcome.state or "").startswith("XX"):
                case.check(f"{statement[:80]} ends in an ordinary way", False, outcome)
            if administrators:
                # Where no session knows better, PostgreSQL stores it and leaves it out at the login.
                case.check(f"refused: {statement[:80]}", not outcome.ok or statement.startswith("CREATE"), outcome) if not statement.startswith("ALTER") or outcome.ok else None
        outcome = alice.try_("SELECT ltv_predict('own', ARRAY[1])")
        case.check(f"scoring goes on with {name} = {value[:30]}", outcome.ok or not administrators and not outcome.lost and not outcome.state.startswith("XX"), outcome) if not outcome.ok else None
        alice.try_("DROP FUNCTION IF EXISTS alice.f(); RESET ALL; ALTER ROLE alice RESET ALL")
    if administrators:
        case.check(f"{name} is the administrator's", context in ("superuser", "sighup", "postmaster"), context)
        for value in values[:1]:
            try:
                session = Session("alice", options=f"-c {name}={value.split(' ')[0]}")
                got = session.try_("SELECT setting FROM pg_settings WHERE name = %s", [name]).value
                case.check(f"PGOPTIONS does not set {name}", got is None or str(got) == str(now), got)
            except psycopg.Error as error:
                case.check(f"PGOPTIONS does not set {name}", True, str(error).split("FATAL")[-1][:100])
for name in ("ltv.onnxruntime_library", "ltv.cuda_library"):
    case.refused(f"the path of {name} is not shown", alice, f"SHOW {name}")
    # Before the library is loaded, when the setting is a placeholder still.
    fresh = Session("alice")
    early = fresh.try_(f"SET {name} = '/nowhere/evil.so'")
    outcome = fresh.try_("SELECT ltv_predict('own', ARRAY[1])")
    case.check(f"{name} set before the library is loaded is not used", outcome.ok, (early, outcome))
for what in ("SET ltv.nosuch = 1", "SET ltv.models = 'x'"):
    outcome = alice.try_(what)
    case.check(f"the prefix is reserved: {what}", not outcome.ok, outcome)
fresh = Session("alice")
fresh.run("SET ltv.session_cache_size = 1024")
print("      jobs at a time:", admin.run("SHOW ltv.max_concurrent_jobs"))

# Options of a training at every bound -----------------------------------------------------------------------------------------------------
for options in ('{"epochs": 0}', '{"epochs": 100001}', '{"epochs": 1e400}', '{"epochs": "x"}', '{"epochs": null}', '{"epochs": 1.5}', '{"seed": -1}', '{"seed": 1e300}', '{"threads": 257}', '{"threads": 256, "epochs": 1}', '{"hidden_sizes": [0]}',
                '{"hidden_sizes": []}', '{"hidden_sizes": [1e30]}', '{"hidden_sizes": {}}', '{"batch_size": 1048577}', '{"nosuch": 1}', '{"": 1}', '[]', 'null', '"x"', '{"device": "/dev/null"}', '{"device": "cuda:99999999999"}', '{"categorical": ["a", "a", "none"]}',
                '{"log_columns": [5]}', '{"categorical": "' + "x" * 10000 + '"}', '{"learning_rate": 1e-400}', '{"views": []}', '{"a": ' + "[" * 3000 + "]" * 3000 + "}"):
    outcome = alice.try_("SELECT ltv_train('bounds', 'alice.customers', options => %s)", [options])
    if outcome.lost or (outcome.state or "").startswith("XX"):
        case.check(f"options {options[:60]} end in an ordinary way", False, outcome)
    if outcome.ok:
        alice.run("SELECT ltv_cancel(%s)", [outcome.value])
case.check("options out of their bounds end in an ordinary way", True)
case.finish()
