# memory: 1500 MB
# settings: ltv.max_concurrent_jobs = 2
"""Networks as large as the options allow, with little memory: the job fails by itself or is ended, the server runs on."""

import json

from tools.case import Case, Session, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
alice.run("CREATE TABLE alice.sequences AS SELECT customer_id, a, ARRAY[[a, b], [b, a], [1, 2]]::real[] AS s, 'k' || customer_id % 50 AS k, ltv FROM alice.customers")
alice.run("CREATE TABLE alice.wide AS SELECT c.*, (SELECT array_agg(i::real) FROM generate_series(1, 2000) i) AS v FROM alice.customers c")
ONCE = {"epochs": 1, "ensemble": 1}
NETWORKS = (
    ("ziln", "mlp", {"hidden_sizes": [65536]}), ("ziln", "mlp", {"hidden_sizes": [65536, 65536]}), ("ziln", "mlp", {"hidden_sizes": [65536] * 32}), ("ziln", "mlp", {"hidden_sizes": [4096] * 32}), ("ziln", "mlp", {"ensemble": 64, "hidden_sizes": [4096, 4096]}),
    ("ziln", "mlp", {"batch_size": 1048576, "hidden_sizes": [8192]}), ("ziln", "mlp", {"threads": 256}), ("ziln", "mlp", {"embedding_size": 4096, "max_categories": 1000000, "min_count": 1}), ("ziln", "deepfm", {"fm_size": 1024, "hidden_sizes": [16384, 16384]}),
    ("ziln", "dcn", {"cross_layers": 32, "cross_rank": 65536}), ("ziln", "dcn", {"cross_layers": 32, "cross_rank": 65536, "embedding_size": 4096, "min_count": 1}), ("ziln", "lstm", {"recurrent_sizes": [8192, 8192]}), ("ziln", "gru", {"recurrent_sizes": [8192] * 8}),
    ("ziln", "transformer", {"attention_size": 8192, "attention_heads": 64, "attention_layers": 32, "feed_forward_size": 65536}), ("ziln", "transformer", {"attention_size": 8192, "attention_heads": 64}), ("ziln", "transformer", {"max_timesteps": 10000}),
    ("ziln", "tft", {"attention_size": 8192, "attention_heads": 64}), ("cmltv", "mlp", {"head_hidden_sizes": [65536] * 8}), ("cmltv", "mlp", {"contrast_pairs": 10000000}), ("expltv", "mlp", {"head_hidden_sizes": [65536, 65536]}),
    ("cmltv", "mlp", {"head_hidden_sizes": [65536], "ensemble": 64}))


def ended_or_canceled(job, seconds):
    """How a job ended, which is cancelled after so many seconds; on a busy machine it may still wait for the one before."""
    status = alice.ended(job, seconds)
    if status in ("queued", "running"):
        alice.run("SELECT ltv_cancel(%s)", [job])
        status = alice.ended(job)
    return status


bob.trained("m", "bob.customers")
watching = "SELECT count(ltv_predict('m', c)) FROM bob.customers c"
admin.run("ALTER ROLE alice SET statement_timeout = '30s'")
for objective, backbone, options in NETWORKS:
    for table in ("alice.sequences",) if backbone in ("lstm", "gru", "transformer", "tft") else ("alice.wide",):
        text = json.dumps({**ONCE, **options})
        outcome = alice.try_("SELECT ltv_train('large', %s, objective => %s, backbone => %s, options => %s)", [table, objective, backbone, text])
        if not outcome.ok:
            case.check(f"{backbone} {text} is refused in an ordinary way", not outcome.lost and not outcome.state.startswith("XX"), outcome)
            continue
        status = ended_or_canceled(outcome.value, 4)
        said = alice.run("SELECT status, sqlstate, message FROM ltv_jobs WHERE job = %s", [outcome.value])[0]
        case.check(f"{objective} {backbone} {text[:90]} ends in an ordinary way", status in ("succeeded", "failed", "canceled") and not (said[1] or "").startswith("XX") and "panick" not in (said[2] or ""), said)
        seen = bob.try_(watching)
        if not seen.ok:
            case.check(f"bob scores on behind {backbone} {text[:60]}", False, seen)
            bob.again()
            alice.again()
            admin.again()
for memory in ("32MB", "1TB", "1048576MB"):
    if alice.try_(f"SET ltv.training_memory = '{memory}'").ok:
        job = alice.try_("SELECT ltv_train('large', query => 'SELECT c.*, g FROM alice.wide c, generate_series(1, 400) g', options => '{\"epochs\": 1, \"ensemble\": 1}')")
        if job.ok:
            status = ended_or_canceled(job.value, 12)
            case.check(f"many wide rows with training_memory {memory}", status in ("succeeded", "failed", "canceled"), alice.run("SELECT status, sqlstate, message FROM ltv_jobs WHERE job = %s", [job.value]))
alice.try_("RESET ltv.training_memory")
until(lambda: admin.value("SELECT count(*) = 0 FROM ltv_jobs WHERE status IN ('queued', 'running')"), 20)
case.check("bob scores", bob.try_(watching).ok)
case.check("and trains", bob.ended(bob.train("m", "bob.customers")) == "succeeded")
assert Session
case.finish()
