-- What the dashboard reads. Run it as the owner of model `cdnow` and its features (`cargo xtask demo` makes both).
CREATE ROLE superset_reader LOGIN;

-- Scored whenever somebody looks.
CREATE VIEW superset_customers AS
SELECT customer_id, predicted, spent,
       CASE WHEN place <= 0.1 THEN '1 best tenth' WHEN place <= 0.3 THEN '2 next fifth'
            WHEN place <= 0.6 THEN '3 middle' ELSE '4 others' END AS tier
FROM (
    SELECT customer_id, round(predicted::numeric, 2)::float8 AS predicted, spent,
           percent_rank() OVER (ORDER BY predicted DESC) AS place
    FROM (SELECT customer_id, ltv_predict('cdnow', f) AS predicted, ltv AS spent FROM cdnow_features f) scored
) ranked;

-- Numbers as of the last refresh.
CREATE MATERIALIZED VIEW superset_deciles AS
SELECT * FROM ltv_decile_stats('cdnow', 'SELECT * FROM cdnow_features WHERE split = ''test''');

COMMENT ON COLUMN superset_customers.predicted IS 'predicted spend in the horizon of the model';
COMMENT ON COLUMN superset_customers.spent IS 'real spend in that horizon';
COMMENT ON COLUMN superset_customers.tier IS 'place among all customers by prediction';

SELECT ltv_grant('cdnow', 'superset_reader', view => 'superset_customers');
GRANT SELECT ON superset_deciles TO superset_reader;
