"""Orders of simulated customers, who buy and drop out at rates of their own."""

SHOP = """
CREATE UNLOGGED TABLE orders AS
SELECT c.id AS customer_id, d.day AS ordered_at, round(exp(3 + 0.4 * c.taste + 0.6 * d.noise)::numeric, 2) AS amount
FROM (SELECT id, date '2022-01-01' + (random() * 1000)::int AS born, 30 / greatest(0.05, -ln(1 - random())) AS gap,
             -400 * ln(1 - random()) AS life, sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS taste
      FROM generate_series(1, %(customers)s) id) c,
     LATERAL (SELECT c.born + (c.gap * n)::int AS day, sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS noise
              FROM generate_series(0, least(40, floor(least(c.life, date '2024-12-31' - c.born) / c.gap))::int) n) d
"""
