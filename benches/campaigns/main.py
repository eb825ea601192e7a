"""The pictures of docs/campaigns.md, drawn from the story that the page tells: its funnel, its lift day by day, its tiers.

    cargo xtask bench campaigns [-- --docs] [--copies N]

Prints what is drawn; --docs writes docs/campaign_funnel.svg, docs/campaign_curve.svg and docs/campaign_tiers.svg. --copies times list, refresh and
result for so many copies of each customer and order: 43 make a million customers and three million orders.
"""

import argparse
import gzip
import os
import time
from pathlib import Path

import psycopg
from shared.page import bar, label, processor, svg, table

ROOT = Path(os.environ["PG_LTV_ROOT"])
BLUE, LIGHT, GREY, DARK = "#2b6cb0", "#90cdf4", "#cbd5e0", "#4a5568"
FEATURES = "SELECT ltv_create_features('cdnow_features', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273, attributes => 'customers')"
LIST = """SELECT step, customers, left_out FROM ltv_create_campaign('spring', 'cdnow', 'SELECT f.*, c.mail FROM cdnow_features f JOIN consent c USING (customer_id)',
    hold_out => 0.2, budget => 2000, cost_per_contact => 0.80, margin => 0.25, eligible => 'mail', suppress => '{complaints}', start => '1997-10-01')"""
WITH_LIFT = """CREATE VIEW orders_with_lift AS SELECT o.customer_id, o.ordered_at, o.amount * CASE WHEN s.drawn_arm = 'contact' AND o.ordered_at >= s.since THEN 1.2 ELSE 1 END AS amount
    FROM orders o LEFT JOIN spring s USING (customer_id)"""
CURVE = "SELECT day, lift, lift_low, lift_high, profit FROM ltv_campaign_curve('spring', '{}', date_column => 'ordered_at', value_column => 'amount') ORDER BY day"
TIERS = "SELECT tier, contacted, contact_spend, hold_out_spend FROM ltv_campaign_result('spring', 'orders_with_lift', date_column => 'ordered_at', value_column => 'amount') WHERE tier IS NOT NULL ORDER BY tier"
MEANINGS = {
    "query": "all customers", "scored": "with a prediction", "eligible": "agreed to mail", "not_suppressed": "did not complain", "rested": "not contacted lately",
    "profitable": "worth a contact", "within_budget": "paid for by the budget", "hold_out": "held back, to compare", "contact": "contacted",
}


def load(connection):
    for name in ("tables.sql", "fill.sql"):
        connection.execute((ROOT / "xtask/src/demo" / name).read_text(encoding="utf-8"))
        if name == "tables.sql":
            with gzip.open(ROOT / "tests/data/cdnow_orders.csv.gz") as log, connection.cursor().copy("COPY cdnow_log FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(log.read())
    connection.execute(FEATURES)
    connection.execute("CALL ltv_train_now('cdnow', 'cdnow_features', split_column => 'split')")
    connection.execute("CREATE TABLE consent AS SELECT customer_id, customer_id ~ '[0-6]$' AS mail FROM customers")
    connection.execute("CREATE TABLE complaints AS SELECT customer_id FROM customers WHERE customer_id ~ '13$'")


def funnel(steps):
    parts = [label(12, 24, "Who is on the list", font_weight="bold", font_size=15)]
    largest, left, width = steps[0][1], 190, 420
    for i, (step, customers, left_out) in enumerate(steps):
        y = 44 + 30 * i
        colour = {"hold_out": GREY, "contact": BLUE}.get(step, LIGHT)
        parts.append(label(left - 10, y + 15, MEANINGS[step], text_anchor="end"))
        parts.append(bar(left, y, width * customers / largest, 20, colour))
        text = f"{customers:,}" + (f"  <tspan fill=\"{DARK}\" font-size=\"10\">{left_out:,} left out</tspan>" if left_out and step not in ("hold_out", "contact") else "")
        parts.append(label(left + width * customers / largest + 6, y + 15, text))
    return svg(750, 60 + 30 * len(steps), parts)


def curve(with_lift, without):
    """Two panels: the interval of the lift, of contacts that bring a fifth more and of such that bring nothing."""
    shown = [row for row in with_lift + without if row[2] is not None]
    top, bottom = max(row[3] for row in shown), min(row[2] for row in shown)
    parts = [label(12, 24, "Lift per head by day, with its interval of 95 %", font_weight="bold", font_size=15)]
    for x, title, rows, colour in ((60, "contacts that make customers spend a fifth more", with_lift, BLUE), (420, "the orders as they were: nobody was written to", without, "#718096")):
        place = lambda i, value: (x + 290 * i / (len(rows) - 1), 70 + 200 * (top - value) / (top - bottom))
        known = [(i, row) for i, row in enumerate(rows) if row[2] is not None]
        area = [place(i, row[3]) for i, row in known] + [place(i, row[2]) for i, row in reversed(known)]
        parts.append(label(x, 52, title))
        parts.append(f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in area)}" fill="{colour}" fill-opacity="0.2"/>')
        parts.append(f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in (place(i, row[1]) for i, row in known))}" fill="none" stroke="{colour}" stroke-width="2"/>')
        zero = place(0, 0)[1]
        parts.append(f'<line x1="{x}" x2="{x + 290}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="#1a202c" stroke-dasharray="3 3"/>')
        for value in range(int(bottom // 5) * 5 + 5, int(top) + 1, 5):
            parts.append(label(x - 6, place(0, value)[1] + 4, value, text_anchor="end", font_size=10))
        for i, row in enumerate(rows):
            if row[0].day == 1 and row[0].month % 3 == 1:
                parts.append(label(place(i, 0)[0], 288, f"{row[0]:%Y-%m}", font_size=10))
    return svg(750, 300, parts)


def tiers(rows):
    parts = [label(12, 24, "Spend per head by tier", font_weight="bold", font_size=15)]
    parts += [bar(12, 37, 12, 12, BLUE), label(29, 47, "contacted"), bar(112, 37, 12, 12, GREY), label(129, 47, "held out")]
    largest = max(max(row[2], row[3]) for row in rows)
    for i, (tier, contacted, contact_spend, hold_out_spend) in enumerate(rows):
        y = 66 + 36 * i
        parts.append(label(150, y + 18, f"tier {tier} ({contacted:,} contacts)", text_anchor="end"))
        for offset, value, colour in ((0, contact_spend, BLUE), (13, hold_out_spend, GREY)):
            parts.append(bar(160, y + offset, 480 * value / largest, 12, colour))
            parts.append(label(164 + max(480 * value / largest, 1), y + offset + 10, f"{value:,.2f}", font_size=10))
    return svg(750, 80 + 36 * len(rows), parts)


BIG = {
    "list": "SELECT count(*) FROM ltv_create_campaign('big', 'cdnow', 'many', hold_out => 0.2, budget => 100000, cost_per_contact => 0.80, margin => 0.25, start => '1997-10-01')",
    "list again (ltv_refresh_campaign)": "SELECT count(*) FROM ltv_refresh_campaign('big')",
    "result": "SELECT count(*) FROM ltv_campaign_result('big', 'many_orders', date_column => 'ordered_at', value_column => 'amount')",
    "day by day": "SELECT count(*) FROM ltv_campaign_curve('big', 'many_orders', date_column => 'ordered_at', value_column => 'amount')",
    "list of everybody (ltv_segment_summary)": "SELECT count(*) FROM ltv_segment_summary('cdnow', 'many')",
}


def time_copies(connection, copies):
    columns = "customer_id || '/' || n AS customer_id, " + ", ".join(
        f"f.{column.name}" for column in connection.execute("SELECT * FROM cdnow_features LIMIT 0").description if column.name not in ("customer_id", "split", "ltv")
    )
    connection.execute(f"CREATE UNLOGGED TABLE many AS SELECT {columns} FROM cdnow_features f, generate_series(1, {copies}) n")
    connection.execute(f"CREATE UNLOGGED TABLE many_orders AS SELECT customer_id || '/' || n AS customer_id, ordered_at, amount FROM orders, generate_series(1, {copies}) n")
    connection.execute("ANALYZE many, many_orders")
    customers, orders = (connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("many", "many_orders"))
    rows = []
    for name, statement in BIG.items():
        seconds = []
        for _ in range(3):
            if name == "list":
                connection.execute("DROP TABLE IF EXISTS big")
            begun = time.monotonic()
            connection.execute(statement)
            seconds.append(time.monotonic() - begun)
        rows.append((name, f"{sorted(seconds)[1]:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"))
    print(f"{processor()}; {customers:,} customers, {orders:,} orders. Seconds: median (least to most) of three.", table(("", "seconds"), rows), sep="\n\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--copies", type=int)
    options = parser.parse_args()
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
        load(connection)
        steps = connection.execute(LIST).fetchall()
        connection.execute(WITH_LIFT)
        with_lift, without = (connection.execute(CURVE.format(name)).fetchall() for name in ("orders_with_lift", "orders"))
        by_tier = connection.execute(TIERS).fetchall()
        if options.copies:
            time_copies(connection, options.copies)
    for row in [*steps, with_lift[-1], without[-1], *by_tier]:
        print(*row)
    if options.docs:
        for name, picture in (("funnel", funnel(steps)), ("curve", curve(with_lift, without)), ("tiers", tiers(by_tier))):
            (ROOT / f"docs/campaign_{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
