-- database: cdnow
-- The committed order log is what its note says it is.
SELECT count(*), count(DISTINCT customer_id), min(ordered_at), max(ordered_at), sum(amount) FROM orders;
SELECT split, count(*) FROM customers GROUP BY split ORDER BY split;
