"""Point queries in pgbench, prepared: with a prediction and without."""

import os
import statistics
import subprocess
import tempfile
from pathlib import Path

CLIENTS = (1, 16)
ROUNDS = 3


def run(table, seconds):
    """{clients: {way: {"median": microseconds of each round, "tps": ...}}}"""
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        for clients in CLIENTS:
            found = results[str(clients)] = {}
            for _ in range(ROUNDS):
                for way, expression in (("plain", table.cheap), ("prediction", table.call)):
                    script = Path(directory) / f"{way}.sql"
                    script.write_text(
                        f"\\set id random(0, {table.rows - 1})\nSELECT {expression} FROM {table.name} t WHERE id = :id;\n"
                    )
                    latencies = pgbench(script, clients, seconds, Path(directory))
                    at = found.setdefault(way, {"median": [], "p99": [], "per_second": []})
                    at["median"].append(statistics.median(latencies))
                    at["p99"].append(sorted(latencies)[int(len(latencies) * 0.99)])
                    at["per_second"].append(len(latencies) / seconds)
                    print(f"{clients:2} clients {way:12} median {at['median'][-1]:7.0f} us", flush=True)
    return results


def pgbench(script, clients, seconds, directory):
    for old in directory.glob("log*"):
        old.unlink()
    program = Path(os.environ.get("PG_LTV_BIN", "")) / "pgbench"
    command = [program, "-n", "-M", "prepared", "-c", clients, "-j", min(clients, 2), "-T", seconds, "-f", script]
    command += ["-l", f"--log-prefix={directory}/log", os.environ["PG_LTV_URL"]]
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    lines = [line for log in directory.glob("log*") for line in log.read_text().splitlines()]
    return [int(line.split()[2]) for line in lines[len(lines) // 20 :]]
